/**
 * What comes to the leader beside its own page's calls: those of other tabs over the channel, and those that wait in the
 * outbox, whose page may be gone. Knows where a call comes from and where its reply goes, not what it does.
 */
import { KnownCalls } from './known_calls.js';
import { isPassing, settle } from './left_entries.js';
import { Outbox } from '../shared/outbox.js';
import { ALL, Channel, ENGINE, LEADER, signsOf, whoIsAlive } from '../shared/tabs.js';

/** @import { Call, EventMessage, Hello, Reply, State, ToEngine } from '../shared/protocol.js' */
/** @import { Entry } from '../shared/outbox.js' */
/** @import { Envelope } from '../shared/tabs.js' */

/**
 * @typedef {object} Engine
 * @property {(call: Call) => void} pass  takes a call, and posts its reply in time
 * @property {(call: Call) => Promise<Reply>} apply  applies a call that may have been applied before
 * @property {(ids: string[]) => Promise<void>} forget  forgets what calls have come to
 * @property {(reply: Reply) => void} post  posts a reply to whoever waits for it
 * @property {(call: Call, reply: Reply) => void} report  tells of a call that was rejected when its page was gone
 * @property {(hello: Hello) => State | null} meet  takes what another tab says first, and returns its answer
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
  #known;
  /** @type {Promise<Set<string> | null>} */
  #looking = Promise.resolve(null);
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #hasEnded = false;

  /**
   * Begin to listen; to be created as soon as the lock is held.
   * @param {string} database
   * @param {Engine} engine
   */
  constructor(database, engine) {
    this.#database = database;
    this.#engine = engine;
    this.#known = new KnownCalls(engine.forget);
    this.#outbox = Outbox.open(database);
    this.#outbox.catch(() => {}); // a browser that cannot keep an outbox still has its live calls
    this.#channel = new Channel(database, crypto.randomUUID(), (envelope) => this.#receive(envelope), [ENGINE]);
    const signs = new Channel(signsOf(database), crypto.randomUUID(), ({ from }) => signs.post(from, engine.state()), [LEADER]);
  }

  /**
   * Take a call that came as a message, and mark it when the outbox was faster.
   * @param {Call} call
   * @returns {Call}
   */
  take(call) {
    const again = call.again || this.#known.has(call.id);
    this.#known.add(call);
    return { ...call, again };
  }

  /**
   * Post a reply to the tab that waits for it.
   * @param {Reply} reply
   * @returns {boolean} false when it is not another tab's
   */
  reply(reply) {
    this.#known.answer(reply.id);
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

  /** Whether anything waits in the outbox. */
  async haveCalls() {
    return (await this.#entries()).some(({ rejection }) => !rejection);
  }

  /**
   * Apply all that was called before the engine was there, first what is in the outbox, each tab's calls in their order;
   * and look into it again from then on.
   * @param {Call[]} early what came as a message
   * @param {string[]} applied the calls that the store knows
   */
  async applyAll(early, applied) {
    this.#known.inherit(applied);
    const found = await this.#look(true);
    for (const call of early) if (!found?.has(call.id)) this.#engine.post(await this.#engine.apply(call));
    this.#timer = setInterval(() => this.#lookAndForget(), LOOK_EVERY_MS);
  }

  /** Take nothing more: it is for the next leader. What was taken is replied to yet. */
  async end() {
    this.#hasEnded = true;
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** @param {Envelope} envelope */
  #receive({ from, message }) {
    const { type } = /** @type {ToEngine} */ (message);
    if (this.#hasEnded) return;
    if (type === 'hello') {
      const answer = this.#engine.meet(/** @type {Hello} */ (message));
      if (answer) this.#channel.post(from, answer);
      this.#followers.add(from);
      if (this.#engine.state().stage === 'ready') void this.#look(); // a page that was reloaded left its calls there
    } else if (type === 'call') {
      const call = /** @type {Call} */ (message);
      this.#senders.set(call.id, from);
      this.#engine.pass(this.take(call));
    }
  }

  async #lookAndForget() {
    const kept = await this.#look();
    if (kept) await this.#known.look(kept).catch(() => {}); // the store is out of order, and will be asked again
  }

  /** @returns {Promise<Set<string> | null>} the calls that were in the outbox; null when it could not be read */
  #look(isFirst = false) {
    this.#looking = this.#looking
      .then(() => this.#applyEntries(isFirst))
      .catch((error) => (console.warn(`durably: the outbox cannot be read: ${error}`), null));
    return this.#looking;
  }

  /**
   * Apply what did not come as a message, and see to what has no page any more, though it may have come.
   * @param {boolean} isFirst so that nothing that came has been applied
   */
  async #applyEntries(isFirst) {
    const entries = (await this.#entries()).filter(({ rejection }) => !rejection);
    if (entries.length + this.#followers.size > 0) {
      const isAlive = await whoIsAlive(this.#database);
      this.#forgetTabs(isAlive);
      for (const entry of entries) {
        const { tab, call } = entry;
        if (isFirst || !isAlive(tab) || !this.#known.has(call?.id)) await this.#apply(entry, isAlive(tab));
      }
    }
    return new Set(entries.map(({ call }) => call?.id));
  }

  /**
   * @param {Entry} entry
   * @param {boolean} isAlive
   */
  async #apply(entry, isAlive) {
    if (this.#hasEnded) return;
    try {
      const reply = await this.#replyTo(entry);
      if (!isAlive && isPassing(reply.error)) return; // until the next look
      this.#engine.post(reply); // a page that has it removes the entry
      if (!isAlive) await settle(await this.#outbox, entry, reply, this.#engine.report);
    } catch (error) {
      if (!this.#hasEnded) console.warn(`durably: a call has to wait in the outbox: ${error}`);
    }
  }

  /**
   * @param {Entry} entry
   * @returns {Promise<Reply>}
   */
  async #replyTo({ call, tab }) {
    if (typeof call?.id !== 'string') return { type: 'reply', id: '', error: { name: 'ValidationError', message: 'It is no call' } };
    if (!this.#known.has(call.id)) this.#senders.set(call.id, tab);
    this.#known.add(call);
    return this.#engine.apply(call);
  }

  /** @param {(tab: string) => boolean} isAlive */
  #forgetTabs(isAlive) {
    for (const tab of this.#followers) if (!isAlive(tab)) this.#followers.delete(tab);
  }

  async #entries() {
    const outbox = await this.#outbox.catch(() => null);
    await outbox?.rescueAll();
    return (await outbox?.entries()) ?? [];
  }
}
