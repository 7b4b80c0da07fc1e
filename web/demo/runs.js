/** The list of runs, newest first. Each is a button that shows its run. */

/** @import { Engine, Run } from './types.js' */
import { byId, element } from './dom.js';
import { count, counted, moment, statusWord } from './words.js';

const list = byId('runs', HTMLUListElement);
const empty = byId('no-runs', HTMLElement);

/** @type {Map<string, HTMLButtonElement>} */
const buttons = new Map();

/** @param {(runId: string) => void} onSelect */
export function listenForSelection(onSelect) {
  list.addEventListener('click', (event) => {
    const button = event.target instanceof Element && event.target.closest('button');
    if (button instanceof HTMLButtonElement && button.dataset.runId) onSelect(button.dataset.runId);
  });
}

/**
 * Bring the list up to date. Rows that stay are kept, and with them the keyboard's focus.
 *
 * @param {readonly Run[]} runs
 * @param {string | null} selected
 * @param {Engine} engine
 */
export function showRuns(runs, selected, engine) {
  empty.hidden = runs.length > 0;
  dropAllBut(new Set(runs.map((run) => run.id)));
  runs.forEach((run, at) => {
    const button = buttons.get(run.id) ?? add(run.id);
    fill(button, run, engine);
    button.setAttribute('aria-pressed', String(run.id === selected));
    const item = button.parentElement;
    if (item && list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  });
}

/** @param {Set<string>} kept */
function dropAllBut(kept) {
  for (const [id, button] of buttons) {
    if (kept.has(id)) continue;
    button.parentElement?.remove();
    buttons.delete(id);
  }
}

/** @param {string} id */
function add(id) {
  const button = element('button', { type: 'button', 'data-run-id': id });
  for (const name of ['name', 'badge', 'summary', 'time']) button.append(element('span', { class: name }), ' ');
  list.append(element('li', {}, button));
  buttons.set(id, button);
  return button;
}

/**
 * @param {HTMLButtonElement} button
 * @param {Run} run
 * @param {Engine} engine
 */
function fill(button, run, engine) {
  button.dataset.status = run.status;
  const word = statusWord(run, engine);
  [run.input.filename, word, summary(run), moment(run.createdAt)].forEach((text, at) => {
    const span = button.children[at];
    if (!span || span.textContent === text) return;
    span.textContent = text;
    if (text === word) span.setAttribute('data-word', word);
  });
}

/** @param {Run} run */
function summary(run) {
  if (run.output) return `${count(run.output.imported)} imported, ${count(run.output.rejected)} rejected`;
  if (run.status === 'failed') return run.error ?? '';
  if (run.progress?.total) return `${count(run.progress.current)} of ${counted(run.progress.total, 'row')}`;
  return run.status === 'leased' ? 'Reading the file' : run.status === 'pending' ? 'Waiting for its turn' : 'No row imported';
}
