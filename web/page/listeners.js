/**
 * Listeners by the type of message, called in the order in which they were added, those of `'*'` among the others. One that
 * is removed while a message is told does not get it, nor does one that is added then. Knows no messages.
 */

/** @typedef {(message: any) => unknown} Listener  what it returns is a promise, or of no interest */
/** @typedef {(error: unknown, message: any) => unknown} ErrorListener */

export class Listeners {
  /** @type {Set<{ type: string, listener: Listener }>} */
  #entries = new Set();
  /** @type {ErrorListener} */
  #onError = report;

  /**
   * Add a listener for a type, or for `'*'`: all types but `'state'`. The same one twice is called once.
   * @param {string} type
   * @param {Listener} listener
   * @param {unknown[]} [latest] messages that are told to it alone, soon
   * @returns {() => void} its undo
   */
  add(type, listener, latest = []) {
    const same = [...this.#entries].find((entry) => entry.type === type && entry.listener === listener);
    const entry = same ?? { type, listener };
    this.#entries.add(entry);
    for (const message of latest) queueMicrotask(() => this.#entries.has(entry) && this.#call(listener, message));
    return () => void this.#entries.delete(entry);
  }

  /**
   * Call a function when a listener throws, or its promise rejects; the last one set wins.
   * @param {ErrorListener | null | undefined} listener none: the browser reports the error as an uncaught one
   */
  onError(listener) {
    this.#onError = listener ?? report;
  }

  /**
   * @param {string} type
   * @param {unknown} message
   */
  tell(type, message) {
    for (const entry of [...this.#entries]) {
      const hears = entry.type === type || (entry.type === '*' && type !== 'state');
      if (hears && this.#entries.has(entry)) this.#call(entry.listener, message);
    }
  }

  /** Remove all. */
  clear() {
    this.#entries.clear();
  }

  /**
   * @param {Listener} listener
   * @param {unknown} message
   */
  #call(listener, message) {
    try {
      const outcome = /** @type {{ then?: unknown } | null | undefined} */ (listener(message));
      if (typeof outcome?.then === 'function') Promise.resolve(outcome).catch((error) => this.#fail(error, message));
    } catch (error) {
      this.#fail(error, message);
    }
  }

  /** @type {(error: unknown, message: unknown) => void} */
  #fail(error, message) {
    try {
      this.#onError(error, message);
    } catch (failure) {
      report(failure);
    }
  }
}

/** @param {unknown} error */
function report(error) {
  reportError(error); // a property of the page, which tests and tools replace
}
