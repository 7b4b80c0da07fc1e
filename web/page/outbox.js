/**
 * The page's side of the outbox: a changing call is kept from the moment it is made until its reply is there.
 *
 * What was answered is removed a little later, many entries at once: each removal is a commit, which the next call would
 * wait for. An entry that stays because its page dies first does no harm, since the engine applies no call twice.
 */
import { Lanes } from './lanes.js';
import { Outbox, isChanging } from '../shared/outbox.js';
import { takeSlot } from '../shared/slots.js';
import { whoIsAlive } from '../shared/tabs.js';

/** @import { Call, ErrorMessage, Reply } from '../shared/protocol.js' */
/** @import { Entry } from '../shared/outbox.js' */
/** @import { Taken } from '../shared/slots.js' */

const REMOVE_AFTER_MS = 100; // of the first answer
const LOOK_AGAIN_AFTER_MS = 31_000; // when Chromium does not know any more how much room there is
const GESTURES = ['pointerdown', 'keydown']; // those of a click come before it

/** The calls of one tab that are on their way. */
export class Sent {
  #database;
  #tab;
  #number = 0;
  #opening;
  /** @type {Outbox | null} null until it is open */
  #outbox = null;
  /** @type {Lanes | Outbox | null} where calls are put */
  #way = null;
  /** @type {Taken | null} */
  #taken = null;
  /** @type {Map<string, Entry>} by the call */
  #entries = new Map();
  /** @type {Entry[]} answered, and to be removed */
  #answered = [];
  #lookedForRoomAt = 0;
  #end = new AbortController();
  /** Resolves once the last call that was made is stored, or cannot be. */
  kept = Promise.resolve();

  /**
   * @param {string} database
   * @param {string} tab
   * @param {(reason: string) => void} onLoss called when the browser has deleted all that this site had in IndexedDB
   */
  constructor(database, tab, onLoss) {
    this.#database = database;
    this.#tab = tab;
    this.#opening = this.#open(onLoss);
    this.#opening.catch((error) => console.warn(`durably: calls are not kept until they are answered: ${error}`));
    const { signal } = this.#end;
    addEventListener('pagehide', this.#removeAnswered, { signal });
    for (const gesture of GESTURES) addEventListener(gesture, this.#lookAgainForRoom, { capture: true, passive: true, signal });
  }

  /**
   * Keep a call, in this very task if the outbox is open.
   * @param {Call} call
   */
  keep(call) {
    if (!isChanging(call.method)) return;
    const entry = { tab: this.#tab, number: ++this.#number, call };
    this.#entries.set(call.id, entry);
    this.#put(entry);
  }

  /**
   * Forget a call: its reply is there. One that was rejected goes at once, or it could be applied yet.
   * @param {Reply} reply
   */
  forget({ id, error }) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    const isFirst = this.#answered.push(entry) === 1;
    if (error) this.#removeAnswered();
    else if (isFirst) setTimeout(this.#removeAnswered, REMOVE_AFTER_MS);
  }

  /**
   * Take back the calls that nobody will answer here, so that no later engine finds them.
   * @returns {Promise<void>} resolves when they are gone, or nothing can be done about it
   */
  async withdraw() {
    this.#end.abort();
    const entries = [...this.#answered.splice(0), ...this.#entries.values()];
    this.#entries.clear();
    if (entries.length > 0) await this.#outbox?.remove(entries).catch((error) => console.warn(`durably: calls cannot be taken back: ${error}`));
    this.#opening.catch(() => {}).then(() => this.#taken?.release());
  }

  /**
   * The calls of a method that wait, and whose page is gone.
   * @param {string} method
   * @returns {Promise<Call[]>}
   */
  async left(method) {
    const entries = (await this.#all()).filter(({ call, rejection }) => call.method === method && !rejection);
    const isAlive = await whoIsAlive(this.#database);
    return entries.filter(({ tab }) => !isAlive(tab)).map(({ call }) => call);
  }

  /**
   * The calls that were rejected when their page was gone.
   * @returns {Promise<{ id: string, method: string, params: object, error: ErrorMessage }[]>}
   */
  async rejected() {
    const entries = await this.#rejectedEntries();
    return entries.map(({ call: { id, method, params }, rejection }) => ({ id, method, params, error: /** @type {ErrorMessage} */ (rejection) }));
  }

  /**
   * Forget one of these calls; harmless when there is none.
   * @param {string} id
   */
  async forgetRejected(id) {
    const entries = await this.#rejectedEntries();
    await this.#outbox?.remove(entries.filter(({ call }) => call.id === id));
  }

  /** @param {(reason: string) => void} onLoss */
  async #open(onLoss) {
    const [outbox, taken] = await Promise.all([Outbox.open(this.#database, onLoss), takeSlot(this.#database).catch(() => null)]);
    this.#taken = taken;
    const isEmpty = taken !== null && (await outbox.rescue(taken.slot).then(() => true, () => false)); // else what is there, stays
    this.#outbox = outbox;
    this.#way = isEmpty ? new Lanes(outbox, taken.slot) : outbox;
    for (const entry of this.#entries.values()) this.#put(entry); // made before it was open
    await this.#lookForRoom();
  }

  async #lookForRoom() {
    this.#lookedForRoomAt = performance.now();
    await this.#outbox?.lookForRoom().catch(() => {}); // there is none, or the outbox is closed: what is put will tell
  }

  /** Before what the user is about to do, for which it would be too late. */
  #lookAgainForRoom = () => {
    if (performance.now() - this.#lookedForRoomAt > LOOK_AGAIN_AFTER_MS) void this.#lookForRoom();
  };

  async #rejectedEntries() {
    return (await this.#all()).filter(({ rejection }) => rejection);
  }

  async #all() {
    await this.#opening;
    return (await this.#outbox?.entries()) ?? [];
  }

  #removeAnswered = () => {
    const entries = this.#answered.splice(0);
    if (entries.length > 0) this.#outbox?.remove(entries).catch(() => {}); // whoever leads will find them, and apply none again
  };

  /** @param {Entry} entry */
  #put(entry) {
    if (this.#way === null) return;
    this.kept = this.#way.put(entry).catch((error) => console.warn(`durably: a call is not kept until it is answered: ${error}`));
  }
}
