/**
 * Who leads next: a worker waits for the database's lock, and takes it from a leader that is suspended, where that can
 * be done. Knows when, not what is done under the lock.
 *
 * A suspended tab, say in a laptop that was closed, keeps its locks. It is taken for suspended when neither its page nor
 * its worker has answered for a whole lease: an engine that computes keeps its page free to answer. That is counted in
 * questions, not in time, since who asks may have been suspended too.
 */
import { DatabaseLock } from './locks.js';
import { ASKS, Watch } from './watch.js';

/** @import { Hello } from '../shared/protocol.js' */

/**
 * @typedef {object} Heir
 * @property {string} database
 * @property {Hello} hello
 * @property {unknown} leaseMs  as the page gives it; the engine checks it
 * @property {boolean} canSteal  whether the store can do without the leader's consent
 * @property {() => void} onWaiting  called when another worker has the lock
 * @property {(isSilent: boolean) => void} onSilence  called when the leader answers no more, and when it does again
 * @property {() => void} onLost  called when the lock was stolen from this worker
 */

const LEASE_MS = 30_000; // the engine's default
const SHORTEST_MS = 500; // a page must have the time to answer

/**
 * Return once this worker has the database's lock.
 * @param {Heir} heir
 */
export async function succeed(heir) {
  const lock = new DatabaseLock(heir.database, heir.onLost);
  if (await lock.tryTake()) return;
  heir.onWaiting();
  const queued = lock.queue();
  const watch = await Watch.begin(heir.database, heir.hello, lengthOf(heir.leaseMs));
  const watched = watchLeader(lock, watch, heir);
  if (!(await queued)) await watched;
  watch.end();
}

/**
 * @param {DatabaseLock} lock
 * @param {Watch} watch
 * @param {Heir} heir
 */
async function watchLeader(lock, watch, { canSteal, onSilence }) {
  let unanswered = 0;
  while (!lock.isHeld) {
    const isAlive = await watch.ask();
    if (lock.isHeld) return;
    if (isAlive && unanswered >= ASKS) onSilence(false);
    unanswered = isAlive ? 0 : unanswered + 1;
    if (unanswered === ASKS) onSilence(true);
    if (unanswered >= ASKS && canSteal) await lock.steal(() => watch.ask()); // another may have done so just now
  }
}

/** @param {unknown} leaseMs */
function lengthOf(leaseMs) {
  return typeof leaseMs === 'number' ? Math.max(leaseMs, SHORTEST_MS) : LEASE_MS;
}
