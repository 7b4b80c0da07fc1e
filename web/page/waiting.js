/**
 * Waiting for a run to end: told by events, settled by what is stored.
 */
import { after, checkDuration, checkInterval } from './durations.js';
import { checkIdentifier, describe, invalid } from './identifiers.js';
import { toError } from '../shared/rpc.js';

/**
 * @import { Run } from './rows.js'
 * @import { Durably } from './client.js'
 * @import { DurablyEvent } from '../shared/protocol.js'
 */

/**
 * @typedef {object} WaitOptions
 * @property {number | null} [timeout]  milliseconds; none, null or `Infinity`: for ever
 * @property {number | null} [pollingIntervalMs]  checked, but not used: a page has the engine's events
 * @property {((progress: { current: number, total: number | null, message: string | null }) => void) | null} [onProgress]
 * @property {((log: DurablyEvent) => void) | null} [onLog]
 */

const ENDS = ['run:complete', 'run:fail', 'run:cancel', 'run:delete'];

/**
 * Wait for a run; however short the timeout is, the run is looked at once.
 * @param {Durably} durably
 * @param {string} id
 * @param {WaitOptions} options
 * @returns {Promise<Run>}
 */
export async function waitForRun(durably, id, options) {
  checkIdentifier("A run's id", id);
  const { timeout, onProgress, onLog } = checkWaiting(options);
  const { promise, resolve, reject } = Promise.withResolvers();
  const look = () => durably.getRun(id).then((run) => settle(run, id, resolve, reject), reject);
  const subscriptions = [
    durably.on('*', (event) => {
      if (event.runId !== id) return;
      if (ENDS.includes(event.type)) look();
      else if (event.type === 'run:progress') return onProgress?.(event.progress);
      else if (event.type === 'log:write') return onLog?.(event);
    }),
    durably.on('state', ({ state, stage }) => {
      if (stage === 'ready' || state === 'failed' || state === 'stopped') look(); // what a dying engine did not announce
    }),
  ];
  const looked = look();
  const stopTimer = after(timeout, () => looked.then(() => reject(timedOut(id, timeout))));
  return promise.finally(() => {
    stopTimer();
    subscriptions.forEach((unsubscribe) => unsubscribe());
  });
}

/**
 * Return how to wait, for ever as `Infinity`.
 * @param {WaitOptions} options
 * @throws {Error} named `ValidationError`, when a duration or a listener is none
 */
export function checkWaiting({ timeout, pollingIntervalMs, onProgress, onLog }) {
  checkInterval('pollingIntervalMs', pollingIntervalMs);
  for (const [name, listener] of Object.entries({ onProgress, onLog })) {
    if (listener != null && typeof listener !== 'function') throw invalid(`${name} must be a function, not ${describe(listener)}`);
  }
  return { timeout: checkDuration('timeout', timeout ?? Infinity), onProgress, onLog };
}

/**
 * @param {Run | null} run
 * @param {string} id
 * @param {(run: Run) => void} resolve
 * @param {(error: Error) => void} reject
 */
function settle(run, id, resolve, reject) {
  if (run === null) reject(toError({ name: 'NotFoundError', message: `No run has the id ${id}` }));
  else if (run.status === 'completed') resolve(run);
  else if (run.status === 'failed') reject(toError({ name: 'RunFailedError', message: `Run ${id} failed: ${run.error}`, run }));
  else if (run.status === 'cancelled') reject(toError({ name: 'RunCancelledError', message: `Run ${id} was cancelled`, runId: id }));
}

/**
 * @param {string} id
 * @param {number} timeout
 */
function timedOut(id, timeout) {
  return toError({ name: 'WaitTimeoutError', message: `Run ${id} did not end within ${timeout} ms; it goes on` });
}
