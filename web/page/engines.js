/**
 * The engines that may serve a page: its own worker's when this tab leads, another tab's when it follows. Knows who
 * leads, and how the own one is begun and ended, not what is called.
 */
import { Life } from './life.js';
import { OtherEngine } from './other_engine.js';
import { OwnEngine } from './own_engine.js';
import { untold } from './told.js';
import { usedElsewhere } from '../shared/stores.js';

/** @import { Call, OpenParams, Reply, State, StoreInfo, ToClient } from '../shared/protocol.js' */
/** @import { Told } from './told.js' */

/**
 * @typedef {object} Served  the page
 * @property {(reply: Reply) => void} settle
 * @property {(state: State) => void} tell
 * @property {(state: State) => void} dismiss  called with the last state: the page has to be reloaded
 * @property {() => void} repeat  called when another engine leads than the one that has the calls
 * @property {() => void} rest  called when nothing of the page will run for a while
 * @property {(reason: string) => void} mourn  called when the own engine has died at work; `begin` starts another
 * @property {(reason: string) => void} fail  called when the own engine could not even start
 */

export class Engines {
  #params;
  #told;
  #page;
  #own;
  #other;
  #life;
  #follows = false;
  /** @type {StoreInfo['kind']} the store that the own engine uses, or would use if it led */
  #kind;

  /**
   * @param {OpenParams} params
   * @param {string} tab this tab's address
   * @param {Told} told
   * @param {Served} page
   */
  constructor(params, tab, told, page) {
    this.#params = params;
    this.#told = told;
    this.#page = page;
    this.#kind = params.store;
    this.#other = new OtherEngine(params, tab, {
      state: () => told.state,
      settle: (reply) => page.settle(reply),
      hear: ({ event }) => told.hear(event),
      followed: (state, isNew) => this.#hearLeader(state, isNew),
      asked: (run) => void this.#endBusy(run),
      dismissed: (state) => page.dismiss(state),
    });
    this.#own = new OwnEngine(params, {
      receive: (message) => this.#receive(message),
      fail: (reason) => (told.leads ? page.mourn(reason) : page.fail(reason)),
      retry: () => this.begin(),
    });
    this.#own.start();
    this.#life = new Life({
      leave: () => this.#own.end(), // its requests are aborted then, which is no failure of a job
      sleep: () => this.#sleep(),
      wake: () => this.#wake(),
      isAwaited: () => this.#follows || this.#other.isWaiting,
    });
  }

  /** @param {Call} call */
  send(call) {
    if (this.#follows) this.#other.post(call);
    else this.#own.post(call);
  }

  /**
   * End the engine, wherever it is, if it is too busy with a run to hear of anything. That is no crash.
   * @param {string} run
   */
  interrupt(run) {
    if (this.#follows) this.#other.interrupt(run);
    else void this.#endBusy(run);
  }

  /** Start a worker in the place of the one before, which has ended; it queues like any other. */
  begin() {
    this.#own.end();
    this.#other.unfollow();
    this.#follows = false;
    this.#told.leased.clear();
    this.#page.tell(untold(this.#params.store));
    this.#own.start();
    this.#page.repeat();
  }

  /** Hear no more of the page's life, which is nobody's any more. */
  leave() {
    this.#life.end();
  }

  /** End the own worker, which frees the lock, and hear nothing of any other. */
  end() {
    this.#own.end();
    this.#other.close();
  }

  /** A page in the back/forward cache would keep the lock, and would be thrown out of the cache for a message. */
  #sleep() {
    this.end();
    this.#page.rest();
  }

  #wake() {
    this.#other.reopen();
    this.begin();
  }

  /** @param {string} run */
  async #endBusy(run) {
    if (!this.#hasLeased(run) || (await this.#own.answers())) return;
    if (this.#hasLeased(run)) this.begin();
  }

  /** @param {string} run */
  #hasLeased(run) {
    return this.#told.leads && this.#told.leased.has(run);
  }

  /**
   * Take a message of this page's own worker.
   * @param {ToClient} message
   */
  #receive(message) {
    switch (message.type) {
      case 'reply':
        return this.#page.settle(message);
      case 'event':
        return this.#told.hear(message.event);
      case 'state':
        return message.state === 'stopped' ? this.#hearOwnEnd(message) : this.#hearOwnState(message);
      default:
        return /** @satisfies {never} */ (message);
    }
  }

  /**
   * The own worker has ended: another tab took the lock from it, or, with an error, this page has to be reloaded.
   * @param {State} state
   */
  #hearOwnEnd(state) {
    if (state.error) this.#page.dismiss(state);
    else this.begin();
  }

  /** @param {State} state */
  #hearOwnState(state) {
    const follows = state.state === 'follower';
    const turned = follows !== this.#follows;
    this.#follows = follows;
    this.#kind = state.store.kind;
    this.#other.outdoneBy(state);
    const { store } = this.#told.state;
    this.#page.tell(follows && !turned ? { ...this.#told.state, notice: this.#noticeOf(state, store.kind) } : state);
    if (!turned) return;
    this.#told.leased.clear();
    if (follows) this.#other.follow();
    else this.#other.unfollow();
    this.#page.repeat();
  }

  /**
   * @param {State} leader
   * @param {boolean} isNew
   */
  #hearLeader(leader, isNew) {
    if (isNew) this.#told.leased.clear();
    const { stage, epoch, store } = leader;
    const notice = this.#noticeOf(leader, store.kind);
    this.#page.tell({ ...this.#told.state, state: 'follower', stage, epoch, store, notice });
    if (isNew) this.#page.repeat();
  }

  /**
   * @param {State} state
   * @param {StoreInfo['kind']} used the store of the tab that leads
   */
  #noticeOf({ notice }, used) {
    return notice ?? usedElsewhere(this.#params.database, used, this.#kind, this.#params.adopt);
  }
}
