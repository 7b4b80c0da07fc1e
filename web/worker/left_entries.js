/**
 * What becomes of an outbox's entry whose page is gone: it is removed, set aside, or left for the next look. Knows replies
 * and entries, not what a call does.
 */

/** @import { Call, ErrorMessage, Reply } from '../shared/protocol.js' */
/** @import { Entry, Outbox } from '../shared/outbox.js' */

/**
 * Remove an entry that was applied, and set aside one that was rejected.
 * @param {Outbox} outbox
 * @param {Entry} entry
 * @param {Reply} reply
 * @param {(call: Call, reply: Reply) => void} report called when it is set aside
 */
export async function settle(outbox, entry, reply, report) {
  if (!reply.error) return outbox.remove([entry]);
  const rejected = rejectedEntry(entry, reply.error);
  await outbox.put(rejected).catch((error) => {
    if (!(error instanceof RangeError)) throw error;
    return outbox.put({ ...rejected, call: { ...rejected.call, params: {} } }); // nested more deeply than a worker can write
  });
  report(rejected.call, reply);
}

/**
 * Whether the store refused a call for a reason that passes (no room, locked), so that the call is worth another try.
 * @param {ErrorMessage | undefined} error
 */
export function isPassing(error) {
  return error?.name === 'StoreError' && !error.isCausedByData;
}

/**
 * Return an entry as it is set aside: with all that a page lists, whatever was stored as the call.
 * @param {Entry} entry
 * @param {ErrorMessage} rejection
 * @returns {Entry}
 */
function rejectedEntry(entry, rejection) {
  const { id, method, params } = /** @type {Partial<Call>} */ (entry.call ?? {});
  const call = { type: /** @type {const} */ ('call'), id: String(id ?? crypto.randomUUID()), method: String(method), params: params ?? {} };
  return { ...entry, call, rejection };
}
