/**
 * How a page's calls get into the outbox so that none is lost with the page: each is put into a lane of the page's own,
 * where it has to wait for nobody, and is moved on in the same task to where all others read. That may have to wait, and
 * come to nothing when the page goes meanwhile; then whoever finds the lane's page gone moves what was left.
 */
import { CALLS } from '../shared/outbox.js';
import { lanesOf } from '../shared/slots.js';

/** @import { Entry, Outbox } from '../shared/outbox.js' */

export class Lanes {
  #outbox;
  /** @type {{ name: string, uses: number }[]} uses: the moves that are under way */
  #lanes;
  /** @type {{ lane: IDBObjectStore, calls: IDBObjectStore, moved: Promise<void> } | null} of this task */
  #task = null;

  /**
   * @param {Outbox} outbox
   * @param {number} slot which this page has
   */
  constructor(outbox, slot) {
    this.#outbox = outbox;
    this.#lanes = lanesOf(slot).map((name) => ({ name, uses: 0 }));
  }

  /**
   * Put an entry, all in the caller's task: a page that is gone in the next one loses nothing.
   * @param {Entry} entry
   * @returns {Promise<void>} resolves when it can be read by all
   */
  put(entry) {
    try {
      this.#task ??= this.#begin();
      this.#task.lane.put(entry);
      this.#task.calls.put(entry);
      return this.#task.moved;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #begin() {
    const lane = this.#lanes.reduce((one, other) => (other.uses < one.uses ? other : one));
    lane.uses++;
    const keeping = this.#outbox.begin([lane.name]);
    const moving = this.#outbox.begin([CALLS, lane.name], () => {
      this.#task = null;
      moving.store(lane.name).clear();
    });
    const moved = keeping.committed.then(() => moving.committed);
    moved.catch(() => this.#empty(lane.name)).finally(() => lane.uses--);
    return { lane: keeping.store(lane.name), calls: moving.store(CALLS), moved };
  }

  /**
   * Give up what could not be moved, say on a full disk: nobody would remove it when it is answered.
   * @param {string} lane
   */
  #empty(lane) {
    try {
      this.#outbox.begin([lane]).store(lane).clear();
    } catch {
      // the outbox is closed: the database is being deleted, or is a newer version's
    }
  }
}
