/**
 * The way to the engine and back: to this page's own worker or, when another tab leads, over the channel to that one's.
 * Clients of the same database share it.
 *
 * Whoever leads may be gone in the next moment, so a call waits here until it is answered, and is sent again to whoever
 * leads then. The engine applies none twice.
 */
import { LeasedRuns } from './leased.js';
import { OtherEngine } from './other_engine.js';
import { Sent } from './outbox.js';
import { OwnEngine } from './own_engine.js';
import { persist } from './storage.js';
import { isChanging } from '../shared/outbox.js';
import { Calls, toError } from '../shared/rpc.js';
import { showAlive } from '../shared/tabs.js';

/** @import { Call, DurablyEvent, ErrorMessage, OpenParams, Reply, State, ToClient } from '../shared/protocol.js' */

/** @type {Map<string, Connection>} by database */
const connections = new Map();

/** @type {State} */
const UNTOLD = {
  type: 'state',
  state: 'starting',
  stage: null,
  epoch: null,
  store: { kind: 'indexeddb', persistence: null },
  notice: null,
};

export class Connection {
  /** @type {State} the last that was told */
  state = UNTOLD;
  /** @type {Record<string, string>} the jobs' names by their key, once the engine is ready */
  jobNames = {};
  leased = new LeasedRuns();
  #isPersistent = false;
  #database;
  #own;
  #other;
  #follows = false;
  #mayApply = false; // whether an engine was there that may have applied what waits
  /** @type {Promise<void> | null} */
  #stopping = null;
  #sent;
  #calls = new Calls((call) => this.#send(call));
  /** @type {Set<(event: DurablyEvent) => void>} */
  #eventListeners = new Set();
  /** @type {Set<(state: State) => void>} */
  #stateListeners = new Set();

  /** @param {OpenParams} params */
  constructor(params) {
    const tab = crypto.randomUUID();
    this.#database = params.database;
    this.#sent = new Sent(params.database, tab);
    showAlive(params.database, tab);
    this.#other = new OtherEngine(params.database, tab, {
      settle: (reply) => this.#settle(reply),
      hear: ({ event }) => this.#emit(event),
      followed: (state, isNew) => this.#hearLeader(state, isNew),
    });
    this.#own = new OwnEngine(params, { receive: (message) => this.#receive(message), fail: (reason) => this.#fail(reason) });
    this.#own.start();
    addEventListener('pagehide', this.#onPageHide);
    addEventListener('pageshow', this.#onPageShow);
    this.ready = /** @type {Promise<{ jobs: Record<string, string> }>} */ (this.call('init', {}));
    this.ready.then(({ jobs }) => (this.jobNames = jobs), () => {}); // whoever awaits `ready` hears why it failed
  }

  /**
   * Return the connection to a database's engine, a new one if there is none.
   * @param {OpenParams} params
   */
  static to(params) {
    const known = connections.get(params.database);
    if (known) return known;
    const connection = new Connection(params);
    connections.set(params.database, connection);
    return connection;
  }

  /**
   * Call the engine; once it has failed or stopped, reject with the reason.
   * @param {string} method
   * @param {object} params
   */
  call(method, params) {
    return this.#ended ? Promise.reject(toError(this.#reason)) : this.#calls.call(method, params);
  }

  /** The calls that were rejected when their page was gone. */
  rejectedCalls() {
    return this.#sent.rejected();
  }

  /** @param {string} id the call's */
  forgetRejectedCall(id) {
    return this.#sent.forgetRejected(id);
  }

  /**
   * @param {(event: DurablyEvent) => void} listener
   * @returns {() => void} its undo
   */
  onEvent(listener) {
    this.#eventListeners.add(listener);
    return () => this.#eventListeners.delete(listener);
  }

  /**
   * @param {(state: State) => void} listener
   * @returns {() => void} its undo
   */
  onState(listener) {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  /**
   * Ask the browser to keep what is stored, and tell of it if it will.
   * @returns {Promise<boolean>}
   */
  async persist() {
    const granted = await persist();
    if (granted && !this.#isPersistent) {
      this.#isPersistent = true;
      this.#announce(this.state);
    }
    return granted;
  }

  /**
   * Let the runs in flight end, then end the worker. An engine that is not running yet has nothing to end.
   * @returns {Promise<void>}
   */
  stop() {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop() {
    if (this.#ended) return;
    const leads = this.state.state === 'leader';
    const answer = leads ? this.call('stop', {}) : Promise.resolve();
    this.#mayApply = await answer.then(() => !leads, () => true); // what is not answered by then was not taken
    if (!this.#ended) await this.#end({ ...this.state, state: 'stopped', stage: null });
    await answer;
  }

  /**
   * Tell the last state and, once no later engine can find them, reject the calls that wait. Until then the worker keeps
   * the lock.
   * @param {State} state
   */
  async #end(state) {
    this.#announce(state);
    connections.delete(this.#database);
    removeEventListener('pagehide', this.#onPageHide);
    removeEventListener('pageshow', this.#onPageShow);
    await this.#sent.withdraw();
    this.#own.end();
    this.#other.close();
    this.#calls.rejectAll((call) => this.#reasonFor(call));
  }

  /**
   * A page in the back/forward cache would keep the lock, and would be thrown out of the cache for a message. And while
   * a page is torn down its worker's requests are aborted, which must not be taken for a failure of the job.
   */
  #onPageHide = (/** @type {PageTransitionEvent} */ { persisted }) => {
    this.#own.end();
    if (persisted) this.#other.close();
  };

  #onPageShow = (/** @type {PageTransitionEvent} */ { persisted }) => {
    if (!persisted) return;
    this.#follows = false;
    this.leased.clear();
    this.#other.reopen();
    this.#tell(UNTOLD);
    this.#own.start();
    this.#calls.repeat();
  };

  /** @param {Call} call */
  #send(call) {
    if (this.#ended) return; // it is about to be rejected
    if (!call.again) this.#sent.keep(call);
    if (this.#follows) this.#other.post(call);
    else this.#own.post(call);
  }

  get #ended() {
    return this.state.state === 'failed' || this.state.state === 'stopped';
  }

  /** @returns {ErrorMessage} */
  get #reason() {
    return this.state.error ?? { name: 'DurablyError', message: 'This engine was stopped; create a new one to go on' };
  }

  /**
   * @param {Call} call
   * @returns {ErrorMessage}
   */
  #reasonFor({ method }) {
    if (!this.#mayApply || !isChanging(method)) return this.#reason;
    const message = `${this.#reason.message}. This call may have been applied all the same`;
    return { ...this.#reason, message, mayBeApplied: true };
  }

  /**
   * Take a message of this page's own worker.
   * @param {ToClient} message
   */
  #receive(message) {
    switch (message.type) {
      case 'reply':
        return this.#settle(message);
      case 'event':
        return this.#emit(message.event);
      case 'state':
        return this.#hearOwnState(message);
      default:
        return /** @satisfies {never} */ (message);
    }
  }

  /** @param {State} state */
  #hearOwnState(state) {
    const follows = state.state === 'follower';
    const turned = follows !== this.#follows;
    this.#follows = follows;
    this.#tell(state);
    if (!turned) return;
    this.leased.clear();
    if (follows) this.#other.follow();
    else this.#other.unfollow();
    this.#calls.repeat();
  }

  /**
   * @param {State} state
   * @param {boolean} isNew
   */
  #hearLeader({ stage, epoch, store, notice }, isNew) {
    if (isNew) this.leased.clear();
    this.#tell({ ...this.state, state: 'follower', stage, epoch, store, notice });
    if (isNew) this.#calls.repeat();
  }

  /** @param {Reply} reply */
  #settle(reply) {
    this.#sent.forget(reply);
    this.#calls.settle(reply);
  }

  /** @param {DurablyEvent} event */
  #emit(event) {
    this.leased.hear(event);
    this.#eventListeners.forEach((listener) => listener(event));
  }

  /** @param {State} state */
  #tell(state) {
    if (this.#ended) return; // the worker is still there for a moment
    this.#mayApply ||= state.epoch !== null || state.state === 'follower';
    if (state.state === 'failed') void this.#end(state);
    else this.#announce(state);
  }

  /** @param {State} state */
  #announce(state) {
    this.state = this.#isPersistent ? { ...state, store: { ...state.store, persistence: 'persistent' } } : state;
    this.#stateListeners.forEach((listener) => listener(this.state));
  }

  /** @param {string} reason */
  #fail(reason) {
    const message = `The engine's worker failed: ${reason}`;
    this.#mayApply ||= this.state.stage === 'jobs'; // and what came after it was not told
    this.#tell({ ...this.state, state: 'failed', error: { name: 'DurablyError', message } });
  }
}
