/** The result of an import: its counts, and a bar for each state. The bars are a table, so numbers are text. */

/** @import { ImportOutput } from './types.js' */
import { element } from './dom.js';
import { STATE_NAMES } from './states.js';
import { count, counted } from './words.js';

const TOP = 15;

/**
 * @param {ImportOutput} output
 * @returns {Node[]}
 */
export function resultElements(output) {
  const states = Object.entries(output.by_state).sort(([a, m], [b, n]) => n - m || a.localeCompare(b));
  const facts = element(
    'dl',
    { class: 'facts' },
    fact('Imported', output.imported),
    fact('Rejected', output.rejected),
    fact('States', states.length),
  );
  const largest = states[0]?.[1] ?? 0;
  if (!largest) return [facts, element('p', { class: 'nothing' }, 'No row was imported, so there is nothing to count.')];
  const rest = states.slice(TOP);
  return [facts, table('Airports by state', states.slice(0, TOP), largest), ...(rest.length ? [remainder(rest, largest)] : [])];
}

/**
 * @param {string} name
 * @param {number} value
 */
function fact(name, value) {
  return element('div', { 'data-fact': name.toLowerCase() }, element('dt', {}, name), element('dd', {}, count(value)));
}

/**
 * @param {[string, number][]} rows
 * @param {number} largest
 */
function remainder(rows, largest) {
  const rowsInAll = rows.reduce((sum, [, value]) => sum + value, 0);
  return element(
    'details',
    {},
    element('summary', {}, `${counted(rows.length, 'more state')}, ${counted(rowsInAll, 'airport')}`),
    table('Airports in the other states', rows, largest),
  );
}

/**
 * @param {string} caption
 * @param {[string, number][]} rows
 * @param {number} largest
 */
function table(caption, rows, largest) {
  return element(
    'table',
    { class: 'bars' },
    element('caption', {}, caption),
    element('tbody', {}, ...rows.map(([state, value]) => bar(state, value, largest))),
  );
}

/**
 * @param {string} state
 * @param {number} value
 * @param {number} largest
 */
function bar(state, value, largest) {
  const fill = element('span', { class: 'bar' });
  fill.style.setProperty('--share', String(value / largest));
  return element(
    'tr',
    { 'data-state': state },
    element('th', { scope: 'row' }, STATE_NAMES[state] ?? state),
    element('td', {}, fill, element('span', { class: 'value' }, count(value))),
  );
}
