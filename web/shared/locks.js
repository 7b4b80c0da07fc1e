/**
 * Web Locks that are held for as long as whoever holds them lives, which is how others see who does. Knows no names.
 */

/**
 * Hold a lock, for the life of this page or worker or until it is released.
 * @param {string} name
 * @param {{ ifAvailable?: boolean }} [options]
 * @returns {Promise<(() => void) | null>} its release, once it is held; null when it is not available
 */
export function hold(name, options = {}) {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, options, (lock) => {
        if (lock === null) return resolve(null);
        return new Promise((release) => resolve(() => release(undefined)));
      })
      .catch(reject);
  });
}

/**
 * @returns {Promise<Set<string | undefined>>} the names of the locks that are held
 */
export async function heldLocks() {
  const { held = [] } = await navigator.locks.query();
  return new Set(held.map(({ name }) => name));
}
