/**
 * The engine in another tab, which this one follows. Knows how it is reached and who leads, not what is said.
 */
import { HELLO } from '../shared/protocol.js';
import { ALL, Channel, ENGINE } from '../shared/tabs.js';

/** @import { EventMessage, Reply, State, ToEngine } from '../shared/protocol.js' */
/** @import { Envelope } from '../shared/tabs.js' */

/**
 * @typedef {object} Follower
 * @property {(reply: Reply) => void} settle
 * @property {(message: EventMessage) => void} hear  called with the leader's events
 * @property {(state: State, isNew: boolean) => void} followed  called with the leader's states; new: another led before
 */

export class OtherEngine {
  #database;
  #tab;
  #follower;
  #channel;
  #isFollowed = false;
  /** @type {string | null} the leader's address; null until it was heard */
  #leader = null;

  /**
   * @param {string} database
   * @param {string} tab this tab's address
   * @param {Follower} follower
   */
  constructor(database, tab, follower) {
    this.#database = database;
    this.#tab = tab;
    this.#follower = follower;
    this.#channel = this.#open();
  }

  /** Ask who leads, and hear it from then on. */
  follow() {
    this.#isFollowed = true;
    this.#leader = null;
    this.post(HELLO);
  }

  /** Hear no other engine any more: this page's own one leads, and all that could be heard is itself. */
  unfollow() {
    this.#isFollowed = false;
    this.#leader = null;
  }

  /** @param {ToEngine} message */
  post(message) {
    this.#channel.post(ENGINE, message);
  }

  close() {
    this.unfollow();
    this.#channel.close();
  }

  /** Listen again after `close`. */
  reopen() {
    this.#channel = this.#open();
  }

  #open() {
    return new Channel(this.#database, this.#tab, (envelope) => this.#receive(envelope), [this.#tab, ALL]);
  }

  /** @param {Envelope} envelope */
  #receive({ from, message }) {
    if (message.type === 'reply') return this.#follower.settle(message);
    if (!this.#isFollowed) return;
    if (message.type === 'state') this.#hearState(from, message);
    else if (message.type === 'event' && from === this.#leader) this.#follower.hear(message);
  }

  /**
   * @param {string} from
   * @param {State} state
   */
  #hearState(from, state) {
    if (state.state !== 'starting' && state.state !== 'leader') return; // it is ending: the next one will tell
    const isNew = from !== this.#leader;
    this.#leader = from;
    if (isNew) this.post(HELLO);
    this.#follower.followed(state, isNew);
  }
}
