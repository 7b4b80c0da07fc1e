/**
 * The changing calls that this engine has got, and the outcomes that its store keeps, until nobody can send them again.
 *
 * A page removes a call from the outbox when it has the reply, and repeats it no more. That is looked for some seconds
 * after the reply, so that a call which came by message before its entry was there is not taken for one that is over.
 * Knows ids, not what a call does.
 */
import { isChanging } from '../shared/outbox.js';

/** @import { Call } from '../shared/protocol.js' */

export class KnownCalls {
  #forget;
  /** @type {Set<string>} */
  #ids = new Set();
  /** @type {Set<string>} answered since the last look */
  #answered = new Set();
  /** @type {Set<string>} answered before it */
  #over = new Set();

  /** @param {(ids: string[]) => Promise<void>} forget makes the store forget what these have come to */
  constructor(forget) {
    this.#forget = forget;
  }

  /** @param {Call} call */
  add({ id, method }) {
    if (isChanging(method)) this.#ids.add(id);
  }

  /** @param {string} id */
  has(id) {
    return this.#ids.has(id);
  }

  /** @param {string} id of a call, changing or not, that was replied to */
  answer(id) {
    if (this.#ids.has(id)) this.#answered.add(id);
  }

  /** @param {string[]} ids of calls that an earlier engine has applied */
  inherit(ids) {
    for (const id of ids) this.#answered.add(id);
  }

  /**
   * Forget what was answered before the last look and is not in the outbox any more.
   * @param {Set<string>} kept the calls in the outbox
   */
  async look(kept) {
    const gone = [...this.#over].filter((id) => !kept.has(id));
    for (const id of this.#answered) this.#over.add(id);
    this.#answered.clear();
    if (gone.length === 0) return;
    await this.#forget(gone);
    for (const id of gone) {
      this.#over.delete(id);
      this.#ids.delete(id);
    }
  }
}
