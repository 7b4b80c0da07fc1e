/**
 * Where the leased runs are: the latest `run:leased` and `run:progress` of each.
 *
 * Our engine claims a run in the moment it is triggered, and a page's components often listen a frame later. So a new
 * listener of one of these types first hears the latest of them, and a run does not seem to wait while it runs.
 */

/** @import { DurablyEvent } from '../shared/protocol.js' */

const KEPT = ['run:leased', 'run:progress'];
const ENDS = ['run:complete', 'run:fail', 'run:cancel', 'run:delete'];

export class LeasedRuns {
  /** @type {Map<string, Map<string, DurablyEvent>>} by run, by type */
  #events = new Map();

  /** @param {DurablyEvent} event */
  hear(event) {
    if (ENDS.includes(event.type)) {
      this.#events.delete(event.runId);
    } else if (KEPT.includes(event.type)) {
      const events = this.#events.get(event.runId) ?? new Map();
      this.#events.set(event.runId, events.set(event.type, event));
    }
  }

  /**
   * The latest event of a type of each leased run.
   * @param {string} type
   */
  latest(type) {
    return [...this.#events.values()].flatMap((events) => events.get(type) ?? []);
  }

  /** The ids of the leased runs. */
  get ids() {
    return [...this.#events.keys()];
  }

  /** @param {string} run */
  has(run) {
    return this.#events.has(run);
  }

  /** Forget all: what an engine that died did not announce is not known. */
  clear() {
    this.#events.clear();
  }
}
