/**
 * Following one run: where it is now, and then everything that happens to it.
 */
import { toError } from '../shared/rpc.js';

/**
 * @import { DurablyEvent } from '../shared/protocol.js'
 * @import { Run } from './rows.js'
 * @import { Durably } from './client.js'
 */

const UNHEARD = ['run:trigger', 'run:coalesced'];
const ENDS = ['run:complete', 'run:fail', 'run:cancel', 'run:delete'];

/**
 * Return a run's events as a stream: first its state now (`sequence` 0), then each event, until it has ended.
 * @param {Durably} durably
 * @param {string} id
 * @returns {ReadableStream<DurablyEvent>} errs with `NotFoundError` when there is no such run
 */
export function subscribe(durably, id) {
  /** @type {(() => void)[]} */
  const subscriptions = [];
  const unsubscribe = () => subscriptions.splice(0).forEach((undo) => undo());
  return new ReadableStream({
    async start(controller) {
      /** @type {DurablyEvent[] | null} what came before the state now was known */
      let early = [];
      /** @param {DurablyEvent} event */
      const deliver = (event) => {
        if (subscriptions.length === 0) return; // it has ended
        controller.enqueue(event);
        if (!ENDS.includes(event.type)) return;
        unsubscribe();
        controller.close();
      };
      /** @param {unknown} error */
      const fail = (error) => {
        if (subscriptions.length > 0) controller.error(error);
        unsubscribe();
      };
      const look = async () => {
        const run = await durably.getRun(id);
        if (run === null) throw toError({ name: 'NotFoundError', message: `No run has the id ${id}` });
        return run;
      };
      subscriptions.push(
        durably.on('*', (event) => {
          if (event.runId !== id || UNHEARD.includes(event.type)) return;
          if (early) early.push(event);
          else deliver(event);
        }),
        durably.on('state', ({ state, stage }) => {
          const hasEnded = state === 'failed' || state === 'stopped'; // then all reads reject with the reason
          if (stage !== 'ready' && !hasEnded) return;
          const missed = (/** @type {Run} */ run) => endOf(run) && snapshotOf(run).forEach(deliver); // an end nobody announced
          look().then(missed, (error) => (hasEnded || error.name === 'NotFoundError') && fail(error));
        }),
      );
      try {
        const snapshot = snapshotOf(await look());
        const heard = early;
        early = null;
        [...snapshot, ...heard].forEach(deliver);
      } catch (error) {
        fail(error);
      }
    },
    cancel: unsubscribe,
  });
}

/**
 * @param {Run} run
 * @returns {DurablyEvent[]} nothing for a pending run
 */
function snapshotOf(run) {
  const fields = { timestamp: run.completedAt ?? run.updatedAt, sequence: 0, runId: run.id, jobName: run.jobName, labels: run.labels };
  const end = endOf(run);
  if (end) return [{ ...fields, ...end }];
  if (run.status === 'pending') return [];
  const { input, leaseOwner, leaseExpiresAt, progress } = run;
  /** @type {DurablyEvent} */
  const leased = { type: 'run:leased', ...fields, input, leaseOwner, leaseExpiresAt };
  return progress ? [leased, { type: 'run:progress', ...fields, progress }] : [leased];
}

/**
 * @param {Run} run
 * @returns {Pick<DurablyEvent, 'type'> & Record<string, unknown> | null}
 */
function endOf({ status, output, error, startedAt, completedAt }) {
  switch (status) {
    case 'completed':
      return { type: 'run:complete', output, duration: Date.parse(completedAt ?? '') - Date.parse(startedAt ?? '') };
    case 'failed':
      return { type: 'run:fail', error, failedStepName: 'unknown' };
    case 'cancelled':
      return { type: 'run:cancel' };
    default:
      return null;
  }
}
