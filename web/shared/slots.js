/**
 * Slots of the outbox: a few object stores each, its *lanes*, which one page has for itself as long as it lives.
 *
 * Chromium drops a transaction that still waits for another when its page goes, and two wait for each other when they
 * share an object store. What is put into a lane waits for nobody. Knows the lanes and whose they are, not what is in them.
 */
import { heldLocks, hold } from './locks.js';

const SLOTS = 8; // a page beyond these has none, and puts its calls where all do
const LANES = 3; // one is free, as a rule, while the page's last calls are on their way out of the others

/** @param {number} slot */
export const lanesOf = (slot) => Array.from({ length: LANES }, (_, lane) => `lane-${slot}-${lane}`);

export const EVERY_SLOT = Array.from({ length: SLOTS }, (_, slot) => slot);

/** @typedef {{ slot: number, release: () => void }} Taken */

/**
 * Take a free slot, for the life of this page or until it is released.
 * @param {string} database
 * @returns {Promise<Taken | null>} null when there is none
 */
export async function takeSlot(database) {
  for (const slot of await freeSlots(database)) {
    const release = await hold(nameOf(database, slot), { ifAvailable: true });
    if (release) return { slot, release };
  }
  return null;
}

/**
 * Do something with a slot while no page can take it; nothing, if one has it.
 * @param {string} database
 * @param {number} slot
 * @param {() => Promise<void>} action
 * @returns {Promise<void>}
 */
export async function withFreeSlot(database, slot, action) {
  await navigator.locks.request(nameOf(database, slot), { ifAvailable: true }, (lock) => lock && action());
}

/**
 * The slots that no page has.
 * @param {string} database
 */
export async function freeSlots(database) {
  const names = await heldLocks();
  return EVERY_SLOT.filter((slot) => !names.has(nameOf(database, slot)));
}

/**
 * @param {string} database
 * @param {number} slot
 */
function nameOf(database, slot) {
  return `durably:${database}:slot:${slot}`;
}
