/**
 * The page's side of the outbox: a changing call is kept from the moment it is made until its reply is there.
 */
import { Outbox } from '../shared/outbox.js';

/** @import { Call, ErrorMessage } from '../shared/protocol.js' */
/** @import { Entry } from '../shared/outbox.js' */

const CHANGING = ['trigger', 'batchTrigger', 'retrigger', 'cancel', 'deleteRun', 'purgeRuns'];

/** The calls of one tab that are on their way. */
export class Sent {
  #tab;
  #number = 0;
  #opening;
  /** @type {Outbox | null} null until it is open */
  #outbox = null;
  /** @type {Map<string, Entry>} by the call */
  #entries = new Map();

  /**
   * @param {string} database
   * @param {string} tab
   */
  constructor(database, tab) {
    this.#tab = tab;
    this.#opening = Outbox.open(database).then((outbox) => {
      this.#outbox = outbox;
      for (const entry of this.#entries.values()) this.#put(entry); // made before it was open
    });
    this.#opening.catch((error) => console.warn(`durably: calls are not kept until they are answered: ${error}`));
  }

  /**
   * Keep a call, in this very task if the outbox is open.
   * @param {Call} call
   */
  keep(call) {
    if (!CHANGING.includes(call.method)) return;
    const entry = { tab: this.#tab, number: ++this.#number, call };
    this.#entries.set(call.id, entry);
    this.#put(entry);
  }

  /**
   * Forget a call: its reply is there.
   * @param {string} id
   */
  forget(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    this.#outbox?.remove(entry).catch(() => {}); // the engine applies no call twice
  }

  /**
   * The calls that were rejected when their page was gone.
   * @returns {Promise<{ id: string, method: string, params: object, error: ErrorMessage }[]>}
   */
  async rejected() {
    await this.#opening;
    const entries = (await this.#outbox?.entries()) ?? [];
    return entries.flatMap(({ call: { id, method, params }, rejection }) => (rejection ? [{ id, method, params, error: rejection }] : []));
  }

  /** @param {Entry} entry */
  #put(entry) {
    this.#outbox?.put(entry).catch((error) => console.warn(`durably: a call is not kept until it is answered: ${error}`));
  }
}
