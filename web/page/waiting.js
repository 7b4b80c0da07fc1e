/**
 * Waiting for a run to end: told by events, settled by what is stored.
 */
import { toError } from '../shared/rpc.js';

/**
 * @import { Run } from './rows.js'
 * @import { Durably } from './client.js'
 * @import { DurablyEvent } from '../shared/protocol.js'
 */

/**
 * @typedef {object} WaitOptions
 * @property {number} [timeout]  milliseconds; none: for ever
 * @property {(progress: { current: number, total: number | null, message: string | null }) => void} [onProgress]
 * @property {(log: DurablyEvent) => void} [onLog]
 */

const ENDS = ['run:complete', 'run:fail', 'run:cancel', 'run:delete'];

/**
 * @param {Durably} durably
 * @param {string} id
 * @param {WaitOptions} options
 * @returns {Promise<Run>}
 */
export function waitForRun(durably, id, { timeout, onProgress, onLog }) {
  const { promise, resolve, reject } = Promise.withResolvers();
  const look = () => durably.getRun(id).then((run) => settle(run, id, resolve, reject), reject);
  const subscriptions = [
    durably.on('*', (event) => {
      if (event.runId !== id) return;
      if (ENDS.includes(event.type)) look();
      else if (event.type === 'run:progress') onProgress?.(event.progress);
      else if (event.type === 'log:write') onLog?.(event);
    }),
    durably.on('state', ({ state }) => {
      if (state !== 'starting' && state !== 'follower') look(); // what a dying engine did not announce is in the store
    }),
  ];
  const timer = timeout === undefined ? undefined : setTimeout(() => reject(timedOut(id, timeout)), timeout);
  look();
  return promise.finally(() => {
    clearTimeout(timer);
    subscriptions.forEach((unsubscribe) => unsubscribe());
  });
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
