/** The log of the run that is shown: its stored lines, and those that arrive while it is watched. */

/** @import { LogLine } from './types.js' */
import { byId, element } from './dom.js';
import { counted, timeOfDay } from './words.js';

const LINES = 200;

const view = byId('log', HTMLElement);
const rejected = byId('rejected', HTMLElement);

/** Lines heard in this tab, by run: the store may not have the newest yet. @type {Map<string, LogLine[]>} */
const heard = new Map();

/** @type {string | null} */
let shown = null;
let loaded = false;
let warnings = 0;

/** Lines that wait for the next frame. @type {LogLine[]} */
let waiting = [];

/**
 * Show a run's log.
 *
 * @param {string} runId
 * @param {(runId: string) => Promise<LogLine[]>} read
 */
export async function showLog(runId, read) {
  shown = runId;
  loaded = false;
  waiting = [];
  setWarnings(0);
  view.replaceChildren();
  const stored = await read(runId);
  if (shown !== runId) return;
  const known = new Set(stored.map(keyOf));
  const lines = [...stored, ...(heard.get(runId) ?? []).filter((line) => !known.has(keyOf(line)))];
  loaded = true;
  setWarnings(lines.filter(isWarning).length);
  waiting = lines.slice(-LINES);
  flush();
  if (lines.length === 0) view.append(element('p', { class: 'nothing' }, 'No lines.'));
}

/**
 * Take in a line that a run has just written.
 *
 * @param {string} runId
 * @param {LogLine} line
 */
export function hearLine(runId, line) {
  const lines = heard.get(runId) ?? [];
  heard.set(runId, [...lines, line].slice(-LINES));
  if (runId !== shown || !loaded) return;
  if (isWarning(line)) setWarnings(warnings + 1);
  if (waiting.length === 0) requestAnimationFrame(flush);
  waiting = [...waiting, line].slice(-LINES);
}

/** Write the waiting lines, keep the newest, and stay at the end unless the person has scrolled away from it. */
function flush() {
  if (waiting.length === 0) return;
  const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 8;
  view.querySelector('.nothing')?.remove();
  view.append(...waiting.map(lineElement));
  waiting = [];
  while (view.childElementCount > LINES) view.firstElementChild?.remove();
  if (atEnd) view.scrollTop = view.scrollHeight;
}

/** @param {LogLine} line */
function lineElement(line) {
  return element(
    'p',
    { 'data-level': line.level },
    element('time', { datetime: line.at }, timeOfDay(line.at)),
    element('span', { class: 'step' }, line.stepName ?? ''),
    element('span', { class: 'message' }, line.message),
  );
}

/** @param {number} value */
function setWarnings(value) {
  warnings = value;
  rejected.textContent = value ? counted(value, 'rejected row') : '';
}

/** @param {LogLine} line */
function isWarning(line) {
  return line.level === 'warn';
}

/** @param {LogLine} line */
function keyOf(line) {
  return `${line.stepName}\n${line.level}\n${line.message}`;
}
