/**
 * The client: what a page calls. Knows the calls and the events, not where the engine runs.
 */
import { cancel } from './cancelling.js';
import { Connection, STOPPED } from './connection.js';
import { checkCount } from './filter.js';
import { JobHandle } from './handle.js';
import { checkIdentifier, describe, invalid } from './identifiers.js';
import { jobsBy } from './jobs.js';
import { Listeners } from './listeners.js';
import { checkContext, checkOptions } from './options.js';
import { Reader } from './reader.js';
import { estimate } from './storage.js';
import { subscribe } from './subscribing.js';
import { waitForRun } from './waiting.js';
import { toError } from '../shared/rpc.js';
import { EVENT_TYPES } from '../shared/events.js';

/**
 * @import { DurablyEvent, RunFilter, State } from '../shared/protocol.js'
 * @import { EventType } from '../shared/events.js'
 * @import { Run, Step, Log, TriggerResult } from './rows.js'
 * @import { Engine } from './handle.js'
 * @import { DurablyOptions } from './options.js'
 * @import { WaitOptions } from './waiting.js'
 */

/**
 * Make a client and start its engine in a worker.
 *
 * Nothing has to be awaited: calls made before the engine is ready wait for it, and reject with the reason if it
 * cannot start.
 * @param {DurablyOptions} options
 * @returns {Durably}
 * @throws {Error} named `ValidationError` when an option is wrong, `SecurityError` on a page that came over plain HTTP
 */
export function createDurably(options) {
  checkContext();
  return new Durably(Connection.to(checkOptions(options)));
}

/** One client; `createDurably` makes it. */
export class Durably {
  #connection;
  #reader;
  /** @type {Engine} */
  #engine;
  #listeners = new Listeners();
  /** @type {Map<string, JobHandle>} by the job's name */
  #handles = new Map();
  #hasLeft = false; // the engine, which other clients of this page go on with
  /** @type {Promise<void> | null} */
  #stopping = null;
  #unsubscribe;

  /** @type {Record<string, JobHandle>} the jobs, by the camelCase name of their variable */
  jobs;
  /** Reads of what belongs to a run, and the browser's storage as a whole. */
  storage = {
    /** @param {string} id @returns {Promise<Step[]>} */
    getSteps: (id) => this.#reader.steps(id),
    /** @param {string} id @returns {Promise<Log[]>} */
    getLogs: (id) => this.#reader.logs(id),
    estimate,
    persist: () => this.#connection.persist(),
  };

  /** @param {Connection} connection */
  constructor(connection) {
    this.#connection = connection;
    connection.join();
    this.#reader = new Reader((name, params) => (this.#hasLeft ? Promise.reject(toError(STOPPED)) : connection.read(name, params)));
    this.#engine = {
      durably: this,
      call: (method, params) => this.#call(method, params),
      names: () => connection.init().then(() => connection.jobNames),
      knownName: (key) => connection.jobNames[key] ?? key,
    };
    this.jobs = jobsBy((key) => new JobHandle(this.#engine, { key }), () => Object.keys(connection.jobNames));
    this.#unsubscribe = [
      connection.told.onEvent((event) => this.#listeners.tell(event.type, event)),
      connection.told.onState((state) => this.#listeners.tell('state', state)),
    ];
  }

  /** The engine's state as it was last told: `starting`, `leader`, `follower`, `stopped` or `failed`. */
  get state() {
    return this.#hasLeft ? 'stopped' : this.#connection.told.state.state;
  }

  /**
   * Resolve once an engine is ready; reject with the reason if it cannot start.
   * @returns {Promise<void>}
   */
  async init() {
    if (this.#hasLeft) throw toError(STOPPED);
    await this.#connection.init();
  }

  /**
   * Return the handle of a job by its name, always the same; whether there is such a job turns out when it is called.
   * @param {string} name
   * @returns {JobHandle}
   */
  getJob(name) {
    const handle = this.#handles.get(name) ?? new JobHandle(this.#engine, { name: checkIdentifier("A job's name", name) });
    this.#handles.set(name, handle);
    return handle;
  }

  /**
   * Give Python's jobs keys of the page's choice, from stubs such as `{ importCsv: { name: 'import-csv', run() {} } }`.
   * @template {Record<string, { name: string }>} T
   * @param {T} stubs
   * @returns {this & { jobs: Record<keyof T, JobHandle> }} this client
   * @throws {Error} named `ValidationError`, when a stub has no name that a job can have; none is registered then
   */
  register(stubs) {
    const handles = Object.entries(stubs).map(([key, stub]) => /** @type {const} */ ([key, this.getJob(stub?.name)]));
    for (const [key, handle] of handles) this.jobs[key] = handle;
    return /** @type {this & { jobs: Record<keyof T, JobHandle> }} */ (this);
  }

  /**
   * End this client. The engine stops with the last client of its database in this page, and resolves when its runs in
   * flight have ended.
   * @returns {Promise<void>}
   */
  stop() {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop() {
    const { told } = this.#connection;
    const end = this.#connection.leave();
    if (end || told.hasEnded) return end;
    this.#hasLeft = true;
    this.#unsubscribe.forEach((undo) => undo());
    this.#listeners.tell('state', { ...told.state, state: 'stopped', stage: null });
    this.#listeners.clear();
  }

  /**
   * Return what the database shows as a file that `sqlite3` opens: nothing of deleted runs is in it. Rejects with
   * `StoreError` when the runs are in IndexedDB.
   * @returns {Promise<File>}
   */
  exportDatabase() {
    return this.#call('exportDatabase', {});
  }

  /**
   * Put what an exported file holds in the place of all runs.
   *
   * Rejects with `ConflictError` while a run is leased, and with `StoreError` when the runs are in IndexedDB or when the
   * file is not what a database of this version holds (the message names table, row and column); all is as it was then.
   * @param {Blob} file
   * @returns {Promise<void>}
   */
  async importDatabase(file) {
    await this.#call('importDatabase', { file });
  }

  /**
   * Call a listener for each event of a type, for every event (`'*'`), or for each state of the engine (`'state'`).
   *
   * A listener of `run:leased` or `run:progress` alone first hears where the runs that are leased now are.
   * Listeners are called in the order in which they were added; the same one twice is called once.
   * @param {EventType | '*' | 'state'} type
   * @param {(message: any) => unknown} listener
   * @returns {() => void} ends the subscription
   */
  on(type, listener) {
    if (type !== '*' && type !== 'state' && !EVENT_TYPES.includes(type)) {
      throw invalid(`Unknown event type ${describe(type)}; there are: ${EVENT_TYPES.join(', ')}, state, *`);
    }
    if (typeof listener !== 'function') throw invalid(`A listener must be a function, not ${describe(listener)}`);
    return this.#listeners.add(type, listener, this.#hasLeft ? [] : this.#connection.told.leased.latest(type));
  }

  /**
   * Call a function when a listener throws, or its promise rejects; the last one set wins. Null: the browser reports it.
   * @param {((error: unknown, event: DurablyEvent | State) => unknown) | null} listener
   */
  onError(listener) {
    if (listener != null && typeof listener !== 'function') throw invalid(`onError takes a function, not ${describe(listener)}`);
    this.#listeners.onError(listener);
  }

  /**
   * @param {string} id
   * @returns {Promise<Run | null>}
   */
  getRun(id) {
    return this.#reader.run(id);
  }

  /**
   * List runs, newest first. A list matches any of its members; absent, null or empty: everything.
   * @param {RunFilter | null} [filter]
   * @returns {Promise<Run[]>}
   */
  getRuns(filter) {
    return this.#reader.runs(filter);
  }

  /**
   * Trigger an ended run again, with the same input, labels and concurrency key.
   * @param {string} id
   * @returns {Promise<Run>} the new run
   */
  async retrigger(id) {
    return this.#call('retrigger', { id: checkIdentifier("A run's id", id) });
  }

  /**
   * Delete an ended run with its steps and logs.
   * @param {string} id
   * @returns {Promise<void>}
   */
  async deleteRun(id) {
    await this.#call('deleteRun', { id: checkIdentifier("A run's id", id) });
  }

  /**
   * Delete runs that ended before a time, oldest first, and resolve with their number.
   * @param {{ olderThan: Date, limit?: number | null }} options at most `limit`, 500 if none is given
   * @returns {Promise<number>}
   */
  async purgeRuns({ olderThan, limit }) {
    if (!(olderThan instanceof Date) || Number.isNaN(Number(olderThan))) {
      throw invalid(`olderThan must be a Date that is a time, not ${describe(olderThan)}`);
    }
    const params = { olderThan: olderThan.toISOString() };
    return this.#call('purgeRuns', limit == null ? params : { ...params, limit: checkCount('limit', limit) });
  }

  /**
   * Follow a run: its state now (`sequence` 0), then each of its events, until it has ended.
   * @param {string} id
   * @returns {ReadableStream<DurablyEvent>}
   */
  subscribe(id) {
    return subscribe(this, id);
  }

  /**
   * Cancel a pending or leased run, at once.
   *
   * A job that computes without a pause cannot hear of it, and one may swallow it: when `graceMs` have passed, 500 if none
   * are given, the engine is ended in the middle of that step, and the next one resumes all other runs from their
   * checkpoints.
   * @param {string} id
   * @param {{ graceMs?: number } | null} [options] `Infinity`: the engine is never ended for it
   * @returns {Promise<void>}
   */
  async cancel(id, options) {
    if (this.#hasLeft) throw toError(STOPPED);
    const { graceMs = 500 } = options ?? {};
    await cancel(this.#connection, id, graceMs);
  }

  /**
   * The calls that were rejected when the page that had made them was gone: by whom they were, and why.
   * @returns {Promise<{ id: string, method: string, params: object, error: { name: string, message: string } }[]>}
   */
  rejectedCalls() {
    return this.#connection.sent.rejected();
  }

  /**
   * Forget one of the rejected calls, once the user knows of it: no tab lists it any more. Harmless when there is none.
   * @param {string} id the call's
   * @returns {Promise<void>}
   */
  forgetRejectedCall(id) {
    return this.#connection.sent.forgetRejected(id);
  }

  /**
   * Resolve with a run once it is completed. Rejects with `RunFailedError`, `RunCancelledError`, `NotFoundError` or
   * `WaitTimeoutError`.
   * @param {string} id
   * @param {WaitOptions | null} [options]
   * @returns {Promise<Run>}
   */
  waitForRun(id, options) {
    return waitForRun(this, id, options ?? {});
  }

  /**
   * @param {string} method
   * @param {object} params
   * @returns {Promise<any>}
   */
  #call(method, params) {
    return this.#hasLeft ? Promise.reject(toError(STOPPED)) : this.#connection.call(method, params);
  }
}
