/**
 * What comes to the leader beside its own page's calls: those of other tabs over the channel, and those that wait in the
 * outbox, whose page may be gone. Knows where a call comes from and where its reply goes, not what it does.
 */
import { Outbox } from '../shared/outbox.js';
import { ALL, Channel, ENGINE, whoIsAlive } from '../shared/tabs.js';

/** @import { Call, EventMessage, Reply, State, ToEngine } from '../shared/protocol.js' */
/** @import { Entry } from '../shared/outbox.js' */
/** @import { Envelope } from '../shared/tabs.js' */

/**
 * @typedef {object} Engine
 * @property {(call: Call) => void} pass  takes a call, and posts its reply in time
 * @property {(call: Call) => Promise<Reply>} apply  applies a call that may have been applied before
 * @property {(call: Call, reply: Reply) => void} report  tells of a call that was rejected when its page was gone
 * @property {() => State} state
 */

const LOOK_EVERY_MS = 2000; // for calls of pages that were gone before their message arrived

/** The leader's side of the channel and of the outbox. */
export class Deliveries {
  #database;
  #engine;
  #channel;
  #outbox;
  /** @type {Map<string, string>} the tabs that wait for a reply, by the call */
  #senders = new Map();
  /** @type {Set<string>} the tabs that follow */
  #followers = new Set();
  /** @type {Set<string>} the calls that this engine has got already */
  #known = new Set();
  #looking = Promise.resolve();

  /**
   * Begin to listen; to be created as soon as the lock is held.
   * @param {string} database
   * @param {Engine} engine
   */
  constructor(database, engine) {
    this.#database = database;
    this.#engine = engine;
    this.#outbox = Outbox.open(database);
    this.#outbox.catch(() => {}); // a browser that cannot keep an outbox still has its live calls
    this.#channel = new Channel(database, crypto.randomUUID(), (envelope) => this.#receive(envelope), [ENGINE]);
  }

  /**
   * Note a call of the own page.
   * @param {Call} call
   */
  know({ id }) {
    this.#known.add(id);
  }

  /**
   * Post a reply to the tab that waits for it.
   * @param {Reply} reply
   * @returns {boolean} false when it is not another tab's
   */
  reply(reply) {
    const sender = this.#senders.get(reply.id);
    if (sender === undefined) return false;
    this.#senders.delete(reply.id);
    this.#channel.post(sender, reply);
    return true;
  }

  /**
   * Tell all other tabs: of a state those too that do not follow yet.
   * @param {EventMessage | State} message
   */
  tellAll(message) {
    if (message.type === 'state' || this.#followers.size > 0) this.#channel.post(ALL, message);
  }

  /**
   * Apply what waits in the outbox, before the engine claims anything, and look again from then on.
   * @returns {Promise<string[]>} the ids of the calls that are still in it
   */
  async applyOutbox() {
    await this.#look();
    setInterval(() => this.#look(), LOOK_EVERY_MS);
    const entries = await this.#entries();
    return entries.map(({ call }) => call.id);
  }

  /** @param {Envelope} envelope */
  #receive({ from, message }) {
    const { type } = /** @type {ToEngine} */ (message);
    if (type === 'hello') {
      this.#followers.add(from);
      this.#channel.post(from, this.#engine.state());
      if (this.#engine.state().stage === 'ready') void this.#look(); // a page that was reloaded left its calls there
    } else if (type === 'call') {
      const call = /** @type {Call} */ (message);
      const again = call.again || this.#known.has(call.id); // the outbox may have been faster
      this.#senders.set(call.id, from);
      this.#known.add(call.id);
      this.#engine.pass({ ...call, again });
    }
  }

  #look() {
    this.#looking = this.#looking.then(() => this.#applyAll()).catch((error) => console.warn(`durably: the outbox cannot be read: ${error}`));
    return this.#looking;
  }

  /** Apply what did not come as a message, and see to what has no page any more, though it may have come. */
  async #applyAll() {
    const entries = (await this.#entries()).filter(({ rejection }) => !rejection);
    if (entries.length + this.#followers.size === 0) return;
    const isAlive = await whoIsAlive(this.#database);
    this.#forgetTabs(isAlive);
    for (const entry of entries) {
      if (!isAlive(entry.tab) || !this.#known.has(entry.call.id)) await this.#apply(entry, isAlive(entry.tab));
    }
  }

  /**
   * @param {Entry} entry
   * @param {boolean} isAlive
   */
  async #apply(entry, isAlive) {
    const { call, tab } = entry;
    this.#known.add(call.id);
    const reply = await this.#engine.apply(call);
    this.#channel.post(tab, reply);
    if (isAlive) return; // its page removes the entry when it has the reply
    const outbox = await this.#outbox;
    if (!reply.error) return outbox.remove([entry]);
    await outbox.put({ ...entry, rejection: reply.error });
    this.#engine.report(call, reply);
  }

  /** @param {(tab: string) => boolean} isAlive */
  #forgetTabs(isAlive) {
    for (const tab of this.#followers) if (!isAlive(tab)) this.#followers.delete(tab);
  }

  async #entries() {
    return (await this.#outbox.catch(() => null))?.entries() ?? [];
  }
}
