/**
 * The worker in which a snapshot of Python is made (`web/worker/snapshotting.js`). Knows when, not how.
 *
 * It is the page's, not the engine's: Firefox may block a worker for ever that starts another one (153, on a busy machine).
 */

const PAUSE_MS = 1000; // for what the page does first

export class Snapshotting {
  #timer = 0;
  /** @type {Worker | null} */
  #worker = null;

  /**
   * Have one made soon, beside the running engine.
   * @param {string} modules to be imported before, as JSON
   */
  begin(modules) {
    this.end();
    this.#timer = setTimeout(() => {
      this.#worker = new Worker(new URL('../worker/snapshotting.js', import.meta.url), { type: 'module' });
      this.#worker.postMessage(modules);
    }, PAUSE_MS);
  }

  /** Leave it, finished or not: a start without one takes longer, and asks for another. */
  end() {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = null;
  }
}
