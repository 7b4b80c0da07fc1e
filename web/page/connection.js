/**
 * The way to the engine and back: to this page's own worker or, when another tab leads, over the channel to that one's.
 * Clients of the same database share it.
 *
 * Whoever leads may be gone in the next moment, so a call waits here until it is answered, and is sent again to whoever
 * leads then. The engine applies none twice.
 */
import { LeasedRuns } from './leased.js';
import { Life } from './life.js';
import { OtherEngine } from './other_engine.js';
import { Sent } from './outbox.js';
import { OwnEngine } from './own_engine.js';
import { persist } from './storage.js';
import { StoredRuns } from './stored_runs.js';
import { isChanging } from '../shared/outbox.js';
import { Calls, toError } from '../shared/rpc.js';
import { showAlive } from '../shared/tabs.js';

/** @import { ReadName } from '../shared/reads.js' */
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
  #life;
  #follows = false;
  #mayApply = false; // whether an engine was there that may have applied what waits
  /** @type {Promise<void> | null} */
  #stopping = null;
  #sent;
  /** @type {StoredRuns | null} what this page reads by itself; null where only the engine can */
  #stored;
  /** @type {Promise<{ jobs: Record<string, string> }> | null} */
  #ready = null;
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
    this.#stored = params.store === 'indexeddb' ? new StoredRuns(params.database) : null;
    showAlive(params.database, tab).catch(() => {}); // a browser without locks has no followers either
    this.#other = new OtherEngine(params.database, tab, params.app, {
      state: () => this.state,
      settle: (reply) => this.#settle(reply),
      hear: ({ event }) => this.#emit(event),
      followed: (state, isNew) => this.#hearLeader(state, isNew),
      asked: (run) => void this.#endBusyWorker(run),
      dismissed: (state) => this.#giveUp(state),
    });
    this.#own = new OwnEngine(params, { receive: (message) => this.#receive(message), fail: (reason) => this.#hearBreakdown(reason) });
    this.#own.start();
    this.#life = new Life({
      leave: () => this.#own.end(), // its requests are aborted then, which is no failure of a job
      sleep: () => this.#sleep(),
      wake: () => this.#wake(),
      isAwaited: () => this.#follows || this.#other.isWaiting,
    });
    const whenIdle = globalThis.requestIdleCallback ?? setTimeout; // there is none in WebKit
    whenIdle(() => this.init().catch(() => {})); // whoever awaits it hears why it failed
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

  /** Demand that an engine runs, here or in another tab, and resolve once it does. */
  init() {
    this.#ready ??= this.#init();
    return this.#ready;
  }

  async #init() {
    const ready = /** @type {{ jobs: Record<string, string> }} */ (await this.call('init', {}));
    this.jobNames = ready.jobs;
    return ready;
  }

  /**
   * Read records; once the engine has failed or stopped, reject with the reason.
   * @param {ReadName} name
   * @param {object} params
   * @returns {Promise<Record<string, any>[]>}
   */
  async read(name, params) {
    if (this.#ended) throw toError(this.#reason);
    if (this.#stored) return this.#stored.read(name, params);
    return /** @type {Record<string, any>[]} */ (await this.call('read', { name, params }));
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
   * End the engine, wherever it is, if it is too busy with a run to hear of anything. That is no crash.
   * @param {string} run
   */
  interrupt(run) {
    if (this.#follows) this.#other.interrupt(run);
    else void this.#endBusyWorker(run);
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
    this.#life.end();
    this.#stored?.close(toError(this.#reason));
    await this.#sent.withdraw();
    this.#own.end();
    this.#other.close();
    this.#calls.rejectAll((call) => this.#reasonFor(call));
  }

  /** A page in the back/forward cache would keep the lock, and would be thrown out of the cache for a message. */
  #sleep() {
    this.#own.end();
    this.#other.close();
    this.#stored?.rest();
  }

  #wake() {
    this.#other.reopen();
    this.#begin();
  }

  /** Start a worker in the place of the one before, which has ended; it queues like any other. */
  #begin() {
    this.#own.end();
    this.#other.unfollow();
    this.#follows = false;
    this.leased.clear();
    this.#tell(UNTOLD);
    this.#own.start();
    this.#calls.repeat();
  }

  /** @param {string} run */
  async #endBusyWorker(run) {
    if (!this.#leads(run) || (await this.#own.answers())) return;
    if (this.#leads(run)) this.#begin();
  }

  /** @param {string} run */
  #leads(run) {
    return this.state.state === 'leader' && this.state.stage === 'ready' && this.leased.has(run);
  }

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
    if (state.error) this.#giveUp(state);
    else this.#begin();
  }

  /**
   * Give up, as a leader of a newer version demands.
   * @param {State} state
   */
  #giveUp({ notice, error }) {
    void this.#end({ ...this.state, state: 'stopped', stage: null, notice, error });
  }

  /** @param {State} state */
  #hearOwnState(state) {
    const follows = state.state === 'follower';
    const turned = follows !== this.#follows;
    this.#follows = follows;
    this.#other.outdoneBy(state.epoch);
    this.#tell(follows && !turned ? { ...this.state, notice: state.notice } : state);
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
    this.#stored?.lookAgain();
    this.#stateListeners.forEach((listener) => listener(this.state));
  }

  /**
   * Replace a worker that has broken down while its engine was at work; one that could not even start fails for good.
   * @param {string} reason
   */
  #hearBreakdown(reason) {
    if (this.state.state === 'leader' && this.state.stage === 'ready') void this.#replaceDead(reason);
    else this.#fail(reason);
  }

  /**
   * Report the death, for the next engine to count it, before the lock is free for that one; then start another worker.
   * @param {string} reason
   */
  async #replaceDead(reason) {
    this.call('reportCrash', { runs: this.leased.ids, reason }).catch(() => {}); // the engine was stopped: nobody counts
    await this.#sent.kept;
    if (!this.#ended) this.#begin();
  }

  /** @param {string} reason */
  #fail(reason) {
    const message = `The engine's worker failed: ${reason}`;
    this.#mayApply ||= this.state.stage === 'jobs'; // and what came after it was not told
    this.#tell({ ...this.state, state: 'failed', error: { name: 'DurablyError', message } });
  }
}
