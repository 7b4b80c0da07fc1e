/**
 * How long the browser keeps what is stored here. Asks the browser only; what cannot be known is not guessed.
 */

/** @import { Persistence } from '../shared/protocol.js' */

/**
 * Ask how long this origin's storage is kept: `persistent` until the user deletes it, `best-effort` until the disk runs
 * full, `memory` until the private window is closed.
 *
 * Firefox and Safari tell a private window: there they refuse the origin's private directory, though they offer
 * IndexedDB. Chromium's incognito windows do not differ in anything but the size of their quota, which proves nothing,
 * so there a private window says `best-effort`.
 * @returns {Promise<Persistence>} null where the browser cannot be asked
 */
export async function persistence() {
  const { storage } = navigator;
  if (!storage?.persisted) return null;
  if (await storage.persisted()) return 'persistent';
  return storage.getDirectory?.().then(() => /** @type {const} */ ('best-effort'), () => /** @type {const} */ ('memory')) ?? 'best-effort';
}
