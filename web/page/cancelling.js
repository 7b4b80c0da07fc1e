/**
 * Cancelling a run, also one whose job keeps Python too busy to take the call. Python abandons a job that goes on after its
 * cancellation when the grace is over, and its worker is ended then.
 *
 * The call lies in the outbox, so it need not be heard by the engine that runs now: that one's worker may be ended, and
 * the next engine applies it before it claims anything.
 */
import { after, checkDuration } from './durations.js';
import { checkIdentifier } from './identifiers.js';

/** @import { Connection } from './connection.js' */

const AGAIN_AFTER_MS = 1000;

/**
 * Cancel a run cooperatively and, when that is not answered within the grace, insist.
 * @param {Connection} connection
 * @param {string} id
 * @param {number} graceMs `Infinity`: never insist
 */
export async function cancel(connection, id, graceMs) {
  checkIdentifier("A run's id", id);
  let stopTimer = after(checkDuration('graceMs', graceMs), insist);
  function insist() {
    connection.interrupt(id);
    stopTimer = after(AGAIN_AFTER_MS, insist);
  }
  try {
    await connection.call('cancel', { id, graceMs: Number.isFinite(graceMs) ? graceMs : null });
  } finally {
    stopTimer();
  }
}

/**
 * Insist on what was cancelled by pages that are gone since: their calls lie in the outbox, and an engine too busy for a
 * call is too busy to look there.
 * @param {Connection} connection
 */
export async function insistForOthers(connection) {
  while (!connection.told.hasEnded) {
    const calls = await connection.sent.left('cancel');
    if (calls.length === 0) return;
    for (const { params } of calls) connection.interrupt(/** @type {{ id: string }} */ (params).id);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
  }
}
