/** The run that is shown: how far it is, where it was taken up again, and what came of it. */

/** @import { Engine, Run } from './types.js' */
import { resultElements } from './chart.js';
import { byId, element } from './dom.js';
import { ROWS_PER_BATCH, count, counted, duration, hasEnded, isInterrupted, moment, statusWord } from './words.js';

/** With more batches than this, the gaps between them would hide the bar. */
const MOST_GAPS = 100;

const panel = byId('run', HTMLElement);
const empty = byId('run-empty', HTMLElement);
const view = byId('run-view', HTMLElement);
const title = byId('run-title', HTMLElement);
const status = byId('run-status', HTMLElement);
const times = byId('run-times', HTMLElement);
const cancel = byId('cancel', HTMLButtonElement);
const bar = byId('progress', HTMLProgressElement);
const track = bar.parentElement;
const text = byId('progress-text', HTMLElement);
const note = byId('resumed', HTMLElement);
const mark = byId('resume-mark', HTMLElement);
const result = byId('result', HTMLElement);
const body = byId('result-body', HTMLElement);
const announcer = byId('announcer', HTMLElement);

/** @param {() => void} onCancel */
export function listenForCancel(onCancel) {
  cancel.addEventListener('click', onCancel);
}

/**
 * @param {Run | null} run
 * @param {Engine} engine
 * @param {string | undefined} resumedAt  the first step after the interruption, if this tab saw it start
 */
export function showRun(run, engine, resumedAt) {
  empty.hidden = run !== null;
  view.hidden = run === null;
  panel.dataset.status = run?.status ?? '';
  if (!run) return;
  const word = statusWord(run, engine);
  title.textContent = run.input.filename;
  status.textContent = word;
  status.dataset.word = word;
  times.textContent = timesOf(run);
  cancel.hidden = hasEnded(run);
  showProgress(run, engine);
  showNote(run, engine, resumedAt);
  showResult(run);
  announce(run, word);
}

/** Scroll to the run where it is below the fold, as on a phone, or above. */
export function revealRun() {
  const { top } = panel.getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.6) panel.scrollIntoView();
}

/** @param {Run} run */
function timesOf(run) {
  const at = moment(run.startedAt ?? run.createdAt);
  return run.startedAt && run.completedAt ? `${at}, ${duration(run.startedAt, run.completedAt)}` : at;
}

/**
 * @param {Run} run
 * @param {Engine} engine
 */
function showProgress(run, engine) {
  const total = run.progress?.total ?? 0;
  if (run.progress && total) {
    bar.max = total;
    bar.value = run.progress.current;
    text.textContent = `${count(run.progress.current)} of ${counted(total, 'row')}`;
  } else if (hasEnded(run)) {
    bar.max = 1;
    bar.value = run.status === 'completed' ? 1 : 0;
    text.textContent = run.status === 'completed' ? 'The file has no rows' : 'No row imported';
  } else {
    bar.removeAttribute('value');
    text.textContent = run.status === 'leased' && !isInterrupted(run, engine) ? 'Reading the file' : 'Waiting for the engine';
  }
  const batches = total / ROWS_PER_BATCH;
  track?.style.setProperty('--batches', String(batches > 1 && batches <= MOST_GAPS ? batches : 0.5));
}

/**
 * @param {Run} run
 * @param {Engine} engine
 * @param {string | undefined} resumedAt
 */
function showNote(run, engine, resumedAt) {
  const batch = batchOf(resumedAt);
  const total = run.progress?.total ?? 0;
  mark.hidden = !(batch > 1 && total);
  mark.style.setProperty('--at', String(total ? ((batch - 1) * ROWS_PER_BATCH) / total : 0));
  note.textContent = isInterrupted(run, engine) ? waitingNote(run) : resumedNote(run, resumedAt, batch);
}

/** @param {Run} run */
function waitingNote(run) {
  // The first finished step is `parse`, so the number of finished steps is that of the next batch.
  const next = run.completedStepCount;
  return next > 0 ? `Goes on at batch ${next} when the engine is ready` : 'Starts again when the engine is ready';
}

/**
 * @param {Run} run
 * @param {string | undefined} resumedAt
 * @param {number} batch
 */
function resumedNote(run, resumedAt, batch) {
  if (run.leaseGeneration < 2) return '';
  if (!resumedAt) return `Resumed ${counted(run.leaseGeneration - 1, 'time')} after an interruption`;
  if (batch < 2) return 'Resumed after an interruption';
  return `Resumed at batch ${batch}; the ${counted(batch - 1, 'batch', 'batches')} before it ${batch === 2 ? 'was' : 'were'} kept`;
}

/** @param {string | undefined} step */
function batchOf(step) {
  return Number(/^batch-(\d+)$/.exec(step ?? '')?.[1] ?? 0);
}

/** Draw the result once per outcome, so that an opened `details` stays open. @param {Run} run */
function showResult(run) {
  if (result.dataset.status === run.status && result.dataset.run === run.id) return;
  result.dataset.status = run.status;
  result.dataset.run = run.id;
  body.replaceChildren(...outcome(run));
}

/**
 * @param {Run} run
 * @returns {Node[]}
 */
function outcome(run) {
  if (run.status === 'failed') return failure(run);
  if (run.output) return resultElements(run.output);
  if (run.status === 'cancelled') return [element('p', { class: 'slot' }, 'Cancelled before the last batch, so there is no result.')];
  return [element('p', { class: 'slot' }, 'The count by state appears here when every batch is done.')];
}

/**
 * @param {Run} run
 * @returns {Node[]}
 */
function failure(run) {
  return [
    element('div', { class: 'failure' }, element('h4', {}, 'The import failed'), element('p', {}, run.error ?? 'No reason was given.')),
    element(
      'details',
      {},
      element('summary', {}, `Technical details${run.errorType ? `: ${run.errorType}` : ''}`),
      element('pre', { tabindex: '0', 'aria-label': 'Traceback' }, run.errorTraceback ?? run.error ?? ''),
    ),
  ];
}

/**
 * Tell a screen reader of each change of status, and of nothing in between.
 *
 * @param {Run} run
 * @param {string} word
 */
function announce(run, word) {
  const key = `${run.id} ${word}`;
  if (announcer.dataset.key === key) return;
  announcer.dataset.key = key;
  const counts = run.output ? `: ${count(run.output.imported)} imported, ${count(run.output.rejected)} rejected` : '';
  announcer.textContent = `${run.input.filename}: ${word}${run.status === 'failed' ? `. ${run.error}` : counts}`;
}
