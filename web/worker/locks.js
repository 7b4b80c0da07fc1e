/**
 * The database's lock. Knows Web Locks, not what is done under them.
 *
 * The worker asks for it, never the page, and holds it for the engine's life: only so does its release prove that the
 * engine's thread has ended.
 */

/**
 * Wait for the lock of a database and keep it until `release` is called or this worker ends.
 * @param {string} database
 * @param {() => void} onWaiting called when another worker holds the lock
 * @returns {Promise<() => void>} the lock's release
 */
export async function holdLock(database, onWaiting) {
  const name = `durably:${database}`;
  return (await request(name, { ifAvailable: true })) ?? (onWaiting(), /** @type {() => void} */ (await request(name, {})));
}

/**
 * @param {string} name
 * @param {LockOptions} options
 * @returns {Promise<(() => void) | null>} null when the lock is not available
 */
function request(name, options) {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, options, (lock) => {
        if (lock === null) return resolve(null);
        return new Promise((release) => resolve(() => release(undefined)));
      })
      .catch(reject);
  });
}
