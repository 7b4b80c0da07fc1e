/**
 * The engine in another tab, which this one follows. Knows how it is reached and who leads, not what is said.
 *
 * What a leader says that was suspended and has lost the lock comes too late: its epoch tells.
 */
import { helloOf } from '../shared/protocol.js';
import { ALL, Channel, ENGINE, LEADER, signsOf, whenGone } from '../shared/tabs.js';

/** @import { Call, EventMessage, OpenParams, Reply, State, StoreInfo, ToClient, ToEngine } from '../shared/protocol.js' */
/** @import { Envelope } from '../shared/tabs.js' */

/**
 * @typedef {object} Follower
 * @property {() => State} state  what is answered when others ask whether this tab, which leads, is alive
 * @property {(reply: Reply) => void} settle
 * @property {(message: EventMessage) => void} hear  called with the leader's events
 * @property {(state: State, isNew: boolean) => void} followed  called with the leader's states; new: another led before
 * @property {(state: State) => void} dismissed  called when the leader cannot serve this page
 * @property {(run: string) => void} asked  called when another tab asks the leader's page to interrupt a run
 */

export class OtherEngine {
  #database;
  #tab;
  #hello;
  #follower;
  #channel;
  #signs;
  #isFollowed = false;
  /** @type {string | null} the leader's address; null until it was heard */
  #leader = null;
  /** @type {Map<StoreInfo['kind'], number>} the newest epoch of each store that was heard */
  #epochs = new Map();
  /** @type {StoreInfo['kind'] | null} that of the last engine that was heard */
  #kind = null;
  /** @type {Set<string>} the workers in other tabs that wait for the lock */
  #waiting = new Set();
  #watching = new AbortController();

  /**
   * @param {OpenParams} params
   * @param {string} tab this tab's address
   * @param {Follower} follower
   */
  constructor(params, tab, follower) {
    this.#database = params.database;
    this.#tab = tab;
    this.#hello = helloOf(params);
    this.#follower = follower;
    this.#channel = this.#open();
    this.#signs = this.#openSigns();
  }

  /** Whether another tab is known to wait for the lock. */
  get isWaiting() {
    return this.#waiting.size > 0;
  }

  /** Ask who leads, and hear it from then on. */
  follow() {
    this.#isFollowed = true;
    this.#leader = null;
    this.post(this.#hello);
  }

  /** Hear no other engine any more: this page's own one leads, and all that could be heard is itself. */
  unfollow() {
    this.#isFollowed = false;
    this.#leader = null;
  }

  /**
   * Take the epoch of this page's own engine, which has the lock, for the newest of its store.
   * @param {State} state
   */
  outdoneBy({ epoch, store: { kind } }) {
    if (epoch === null) return; // not known yet
    this.#kind = kind;
    this.#epochs.set(kind, epoch);
  }

  /** @param {ToEngine} message */
  post(message) {
    this.#channel.post(ENGINE, message);
  }

  /**
   * Ask the leader's page to end its worker if a run keeps that one from answering.
   * @param {string} run
   */
  interrupt(run) {
    this.#signs.post(LEADER, { type: 'call', id: crypto.randomUUID(), method: 'interrupt', params: { id: run } });
  }

  /** Hear nothing any more. A page in the back/forward cache would be thrown out of it by a message, or by a lock. */
  close() {
    this.unfollow();
    this.#watching.abort();
    this.#channel.close();
    this.#signs.close();
  }

  /** Listen again after `close`. */
  reopen() {
    this.#watching = new AbortController();
    this.#channel = this.#open();
    this.#signs = this.#openSigns();
  }

  #open() {
    return new Channel(this.#database, this.#tab, (envelope) => this.#receive(envelope), [this.#tab, ALL]);
  }

  #openSigns() {
    const receive = (/** @type {Envelope} */ { from, message }) =>
      message.type === 'call' ? this.#follower.asked(idIn(message)) : this.#answer(from);
    return new Channel(signsOf(this.#database), this.#tab, receive, [LEADER]);
  }

  /**
   * Show a waiting worker that this tab is alive, though its Python may be busy.
   * @param {string} worker
   */
  #answer(worker) {
    if (this.#isFollowed) return;
    this.#signs.post(worker, this.#follower.state());
    if (this.#waiting.has(worker)) return;
    this.#waiting.add(worker);
    void whenGone(this.#database, worker, this.#watching.signal).then(() => this.#waiting.delete(worker));
  }

  /** @param {Envelope} envelope */
  #receive({ from, to, ...envelope }) {
    const message = /** @type {ToClient} */ (envelope.message);
    if (this.#isLate(from, message)) return;
    if (message.type === 'reply') return this.#follower.settle(message);
    if (!this.#isFollowed) return;
    if (message.type === 'event') return from === this.#leader ? this.#follower.hear(message) : undefined;
    if (message.state === 'starting' || message.state === 'leader') return this.#hearState(from, message);
    if (message.state === 'stopped' && to === this.#tab) return this.#follower.dismissed(message);
    if (from === this.#leader) this.#hearEnd(message);
  }

  /**
   * @param {string} from
   * @param {State} state
   */
  #hearState(from, state) {
    const isNew = from !== this.#leader;
    this.#leader = from;
    if (isNew) this.post(this.#hello);
    this.#follower.followed(state, isNew);
  }

  /**
   * The leader has ended: the next one will tell, or has told when it was not believed yet.
   * @param {State} state
   */
  #hearEnd({ state, store }) {
    if (state === 'failed') this.#epochs.delete(store.kind); // its database may be gone, and its epochs with it
    this.follow();
  }

  /**
   * Whether a message comes from an engine that has lost the lock: its epoch is lower than a known one of the same store.
   *
   * A state names its store. A reply or an event counts for the store of the newest state, and raises that store's epoch
   * only when the leader sent it: the epoch of an engine that has ended may belong to the other store.
   * @param {string} from
   * @param {ToClient} message
   */
  #isLate(from, message) {
    const { epoch } = message;
    const isState = message.type === 'state';
    const kind = isState ? message.store.kind : this.#kind;
    if (kind === null) return false;
    const newest = this.#epochs.get(kind) ?? 0;
    if (epoch != null && epoch < newest) return true;
    if (isState) this.#kind = kind;
    if (isState || from === this.#leader) this.#epochs.set(kind, epoch ?? newest);
    return false;
  }
}

/**
 * @param {Call} interrupt
 * @returns {string} the run
 */
function idIn({ params }) {
  return /** @type {{ id: string }} */ (params).id;
}
