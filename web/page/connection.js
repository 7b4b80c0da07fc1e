/**
 * A page's calls, on their way to whichever engine leads, and back. Clients of the same database share it.
 *
 * Whoever leads may be gone in the next moment, so a call waits here until it is answered, and is sent again to whoever
 * leads then. The engine applies none twice.
 */
import { insistForOthers } from './cancelling.js';
import { Engines } from './engines.js';
import { Sent } from './outbox.js';
import { persist } from './storage.js';
import { StoredRuns } from './stored_runs.js';
import { Told } from './told.js';
import { isChanging } from '../shared/outbox.js';
import { Calls, toError } from '../shared/rpc.js';
import { showAlive } from '../shared/tabs.js';

/** @import { ReadName } from '../shared/reads.js' */
/** @import { Call, ErrorMessage, OpenParams, Reply, State } from '../shared/protocol.js' */

/** @type {Map<string, Connection>} by database; not those whose last client is being stopped */
const connections = new Map();

/** @type {ErrorMessage} with which calls to a client reject that was stopped */
export const STOPPED = { name: 'DurablyError', message: 'This engine was stopped; create a new one to go on' };

export class Connection {
  told;
  sent;
  /** @type {Record<string, string>} the jobs' names by their key, once the engine is ready */
  jobNames = Object.create(null);
  #database;
  #engines;
  #stored; // what this page reads by itself
  #calls = new Calls((call) => this.#send(call));
  #mayApply = false; // whether an engine was there that may have applied what waits
  /** @type {Promise<{ jobs: Record<string, string> }> | null} */
  #ready = null;
  #clients = 0;
  #alive;

  /** @param {OpenParams} params */
  constructor(params) {
    const tab = crypto.randomUUID();
    this.#database = params.database;
    this.told = new Told(params.store);
    this.sent = new Sent(params.database, tab, (reason) => this.told.loseStored(reason));
    this.#stored = new StoredRuns(params.database);
    this.#alive = showAlive(params.database, tab);
    this.#alive.catch(() => {}); // a browser without locks has no followers either
    this.#engines = new Engines(params, tab, this.told, {
      settle: (reply) => this.#settle(reply),
      tell: (state) => this.#tell(state),
      dismiss: ({ notice, error }) => void this.#end({ ...this.told.state, state: 'stopped', stage: null, notice, error }),
      repeat: () => this.#calls.repeat(),
      rest: () => this.#stored.rest(),
      mourn: (reason) => void this.#replaceDead(reason),
      fail: (reason) => this.#fail(reason),
    });
    const whenIdle = globalThis.requestIdleCallback ?? setTimeout; // there is none in WebKit
    whenIdle(() => this.init().catch(() => {})); // whoever awaits it hears why it failed
    insistForOthers(this).catch(() => {}); // without an outbox there is nothing to insist on
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

  /** Count one more client, which is to leave. */
  join() {
    this.#clients++;
  }

  /**
   * Count one client less; when it was the last, stop.
   *
   * Another client of the database gets a connection of its own from then on: it follows this engine until that has ended.
   * @returns {Promise<void> | undefined} undefined while there are others
   */
  leave() {
    this.#clients--;
    if (this.#clients > 0) return undefined;
    this.#withdraw();
    return this.#stop();
  }

  /** Demand that an engine runs, here or in another tab, and resolve once it does. */
  init() {
    if (this.told.hasEnded) return Promise.reject(toError(this.#reason));
    this.#ready ??= this.#init();
    return this.#ready;
  }

  async #init() {
    const ready = /** @type {{ jobs: Record<string, string> }} */ (await this.call('init', {}));
    Object.assign(this.jobNames, ready.jobs);
    return ready;
  }

  /**
   * Read records; once the engine has failed or stopped, reject with the reason.
   * @param {ReadName} name
   * @param {object} params
   * @returns {Promise<Record<string, any>[]>}
   */
  async read(name, params) {
    if (this.told.hasEnded) throw toError(this.#reason);
    if (this.told.state.store.kind === 'indexeddb' && (await this.#stored.areAlone())) return this.#stored.read(name, params);
    return /** @type {Record<string, any>[]} */ (await this.call('read', { name, params }));
  }

  /**
   * Call the engine; once it has failed or stopped, reject with the reason.
   * @param {string} method
   * @param {object} params
   */
  call(method, params) {
    return this.told.hasEnded ? Promise.reject(toError(this.#reason)) : this.#calls.call(method, params);
  }

  /** @type {Engines['interrupt']} */
  interrupt(run) {
    this.#engines.interrupt(run);
  }

  /**
   * Ask the browser to keep what is stored, and tell of it if it will.
   * @returns {Promise<boolean>}
   */
  async persist() {
    const granted = await persist();
    if (granted) this.told.becomePersistent();
    return granted;
  }

  /** Let the runs in flight end, then end the worker. An engine that is not running yet has nothing to end. */
  async #stop() {
    if (this.told.hasEnded) return;
    const leads = this.told.state.state === 'leader';
    const answer = leads ? this.call('stop', {}) : Promise.resolve();
    this.#mayApply = await answer.then(() => !leads, () => true); // what is not answered by then was not taken
    if (!this.told.hasEnded) await this.#end({ ...this.told.state, state: 'stopped', stage: null });
    await answer;
  }

  /**
   * Tell the last state and, once no later engine can find them, reject the calls that wait. Until then the worker keeps
   * the lock.
   * @param {State} state
   */
  async #end(state) {
    this.told.become(state);
    this.#withdraw();
    this.#engines.leave();
    this.#stored.close(toError(this.#reason));
    await this.sent.withdraw();
    this.#engines.end();
    this.#alive.then((release) => release(), () => {});
    this.#calls.rejectAll((call) => this.#reasonFor(call));
  }

  /** Be no connection for further clients. */
  #withdraw() {
    if (connections.get(this.#database) === this) connections.delete(this.#database);
  }

  /** @param {Call} call */
  #send(call) {
    if (this.told.hasEnded) return; // it is about to be rejected
    if (!call.again) this.sent.keep(call);
    this.#engines.send(call);
  }

  /** @param {Reply} reply */
  #settle(reply) {
    this.sent.forget(reply);
    this.#calls.settle(reply);
  }

  /** @param {State} state */
  #tell(state) {
    if (this.told.hasEnded) return; // the worker is still there for a moment
    this.#mayApply ||= state.epoch !== null || state.state === 'follower';
    if (state.state === 'failed') return void this.#end(state);
    this.told.become(state);
    this.#stored.lookAgain();
  }

  /**
   * Report the death, for the next engine to count it, before the lock is free for that one; then start another worker.
   * @param {string} reason
   */
  async #replaceDead(reason) {
    this.call('reportCrash', { runs: this.told.leased.ids, reason }).catch(() => {}); // the engine was stopped: nobody counts
    await this.sent.kept;
    if (!this.told.hasEnded) this.#engines.begin();
  }

  /** @param {string} reason */
  #fail(reason) {
    const message = `The engine's worker failed: ${reason}`;
    this.#mayApply ||= this.told.state.stage === 'jobs'; // and what came after it was not told
    this.#tell({ ...this.told.state, state: 'failed', error: { name: 'DurablyError', message } });
  }

  /** @returns {ErrorMessage} */
  get #reason() {
    return this.told.state.error ?? STOPPED;
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
}
