/**
 * The demo: what a page does with the client, from start to end.
 *
 * It keeps three things: the engine's last state, the newest runs as the store has them, and which run is shown.
 * Events change them, and `draw` shows them. All else about a run is the engine's.
 */

/** @import { JobHandle } from './durably/page/handle.js' */
/** @import { Engine, LogLine, Run } from './types.js' */
import { createDurably } from './durably/page/index.js';
import { clearAlert, showAlert } from './alert.js';
import { showEngine } from './engine.js';
import { enableImports, listenForFiles, showWaiting } from './importing.js';
import { hearLine, showLog } from './log.js';
import { listenForCancel, revealRun, showRun } from './run.js';
import { listenForSelection, showRuns } from './runs.js';
import { hasEnded } from './words.js';

const RUNS = 20;
const CHANGES = /** @type {const} */ (['run:trigger', 'run:complete', 'run:fail', 'run:cancel', 'run:delete']);

const durably = createDurably({ database: 'durably-demo', jobs: './jobs.py' });
const importCsv = /** @type {JobHandle} */ (durably.jobs.importCsv);

/** @type {Engine} */
let engine = { state: durably.state };
/** @type {Run[] | null} null until they were read, so that nobody is told that there are none */
let runs = null;
/** @type {string | null} */
let selected = null;

let reads = 0;
let applied = 0;

/** The step at which each run was taken up in this tab; null from its lease until that step starts. @type {Map<string, string | null>} */
const firstSteps = new Map();

listenForFiles(startImport, showAlert);
listenForSelection(choose);
listenForCancel(cancelSelected);
listenForEvents();
refresh();

/**
 * @param {string} filename
 * @param {Blob} content
 * @param {number} pauseMs
 */
async function startImport(filename, content, pauseMs) {
  clearAlert();
  showWaiting(engine.state !== 'leader');
  try {
    const run = await importCsv.trigger({ filename, content, pause_ms: pauseMs });
    await refresh();
    choose(run.id);
  } catch (error) {
    if (engine.state !== 'failed') showAlert(`${filename} was not imported`, error);
  } finally {
    showWaiting(false);
  }
}

function listenForEvents() {
  durably.on('state', (state) => {
    engine = state;
    enableImports(engine.state !== 'failed');
    if (engine.state === 'failed') showFailure(engine.error);
    draw();
    if (engine.stage === 'ready' || engine.state === 'follower') refresh();
  });
  for (const type of CHANGES) durably.on(type, refresh);
  durably.on('run:leased', ({ runId }) => {
    firstSteps.set(runId, null);
    refresh();
  });
  durably.on('step:start', ({ runId, stepName }) => {
    if (firstSteps.get(runId) !== null) return;
    firstSteps.set(runId, stepName);
    draw();
  });
  durably.on('run:progress', ({ runId, progress }) => {
    runs = runs && runs.map((run) => (run.id === runId ? { ...run, progress } : run));
    draw();
  });
  durably.on('log:write', ({ runId, stepName, level, message, timestamp }) => {
    hearLine(runId, { stepName, level, message, at: timestamp });
  });
  durably.on('worker:error', ({ error }) => showAlert('The engine reports a problem', error));
}

/** Read the runs again. The store is right about them; events only say when to look. */
async function refresh() {
  const asked = ++reads;
  try {
    const rows = await durably.getRuns({ limit: RUNS });
    if (asked < applied) return; // a later read was faster
    applied = asked;
    runs = rows;
  } catch (error) {
    if (engine.state !== 'failed') showAlert('The runs could not be read', error);
    return;
  }
  const first = runs.find((run) => !hasEnded(run)) ?? runs[0];
  if (first && !runs.some((run) => run.id === selected)) select(first.id);
  else draw();
}

/** @param {string} runId */
function select(runId) {
  if (selected !== runId) {
    selected = runId;
    showLog(runId, readLog).catch((error) => showAlert('The log could not be read', error));
  }
  draw();
}

/** Show a run that the person asked for. @param {string} runId */
function choose(runId) {
  select(runId);
  revealRun();
}

/**
 * @param {string} runId
 * @returns {Promise<LogLine[]>}
 */
async function readLog(runId) {
  const rows = await durably.storage.getLogs(runId);
  return rows.map(({ stepName, level, message, createdAt }) => ({ stepName, level, message, at: createdAt }));
}

async function cancelSelected() {
  if (!selected) return;
  try {
    await durably.cancel(selected);
  } catch (error) {
    showAlert('The import could not be cancelled', error);
  }
  await refresh();
}

/** @param {unknown} error */
function showFailure(error) {
  showAlert(engine.stage === 'ready' ? 'The engine has failed' : 'The engine could not start', error);
}

function draw() {
  showEngine(engine);
  if (!runs) return;
  showRuns(runs, selected, engine);
  const shown = runs.find((run) => run.id === selected) ?? null;
  showRun(shown, engine, (shown && firstSteps.get(shown.id)) ?? undefined);
}
