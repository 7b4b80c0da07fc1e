/**
 * The database's lock. Knows Web Locks, not what is done under them.
 *
 * The worker asks for it, never the page, and holds it until it ends: only so does its release prove that the engine's
 * thread has ended.
 */
import { explained } from '../shared/denied.js';

export class DatabaseLock {
  /** Whether this worker has the lock. */
  isHeld = false;
  #name;
  #onLost;
  #withdrawal = new AbortController();

  /**
   * @param {string} database
   * @param {() => void} onLost called when another worker has stolen the lock
   */
  constructor(database, onLost) {
    this.#name = `durably:${database}`;
    this.#onLost = onLost;
  }

  /** Take the lock if nobody holds it, and say whether that was so. */
  tryTake() {
    return this.#request({ ifAvailable: true });
  }

  /** Wait for the lock. Resolves with false when it is stolen instead. */
  queue() {
    return this.#request({ signal: this.#withdrawal.signal });
  }

  /**
   * Take the lock from whoever holds it, unless `isNeedless` finds a reason not to. Only one worker at a time may try.
   * @param {() => Promise<boolean>} isNeedless
   */
  async steal(isNeedless) {
    await navigator.locks.request(`${this.#name}:steal`, async () => {
      if (this.isHeld || (await isNeedless()) || this.isHeld) return;
      this.#withdrawal.abort(); // what is queued would stay so
      await this.#request({ steal: true });
    });
  }

  /**
   * @param {LockOptions} options
   * @returns {Promise<boolean>} false when the lock is not available, or the request was withdrawn
   */
  #request(options) {
    return new Promise((resolve, reject) => {
      let isGranted = false;
      navigator.locks
        .request(this.#name, options, (lock) => {
          isGranted = lock !== null;
          this.isHeld ||= isGranted;
          resolve(isGranted);
          return isGranted ? new Promise(() => {}) : null;
        })
        .catch((error) => {
          if (isGranted) this.#onLost();
          else if (options.signal?.aborted) resolve(false);
          else reject(explained('Web Locks', error));
        });
    });
  }
}
