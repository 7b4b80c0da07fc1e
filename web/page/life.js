/**
 * The page's life: it may lie in the back/forward cache, or be frozen, for hours, and nothing of it runs meanwhile.
 * Knows the browser's events, not what ends and begins with them.
 */

/**
 * @typedef {object} Being
 * @property {() => void} leave  the page is torn down
 * @property {() => void} sleep  nothing of the page will run until it wakes
 * @property {() => void} wake
 * @property {() => boolean} isAwaited  whether another tab waits for what this one has; a frozen page cannot ask any more
 */

export class Life {
  #being;
  #isAsleep = false;
  #listening = new AbortController();

  /** @param {Being} being */
  constructor(being) {
    this.#being = being;
    const { signal } = this.#listening;
    addEventListener('pagehide', ({ persisted }) => (persisted ? this.#sleep() : being.leave()), { signal });
    addEventListener('pageshow', () => this.#wake(), { signal });
    document.addEventListener('freeze', () => being.isAwaited() && this.#sleep(), { signal });
    document.addEventListener('resume', () => this.#wake(), { signal });
  }

  /** Tell no more. */
  end() {
    this.#listening.abort();
  }

  #sleep() {
    if (this.#isAsleep) return; // a page in the back/forward cache is frozen there
    this.#isAsleep = true;
    this.#being.sleep();
  }

  #wake() {
    if (!this.#isAsleep) return;
    this.#isAsleep = false;
    this.#being.wake();
  }
}
