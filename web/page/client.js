/**
 * The client: what a page calls. Knows the calls and the events, not where the engine runs.
 */
import { cancel } from './cancelling.js';
import { Connection } from './connection.js';
import { JobHandle } from './handle.js';
import { checkOptions } from './options.js';
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
 * @throws {Error} named `ValidationError`, when an option is wrong
 */
export function createDurably(options) {
  return new Durably(Connection.to(checkOptions(options)));
}

/** One client; `createDurably` makes it. */
export class Durably {
  #connection;
  #reader;
  /** @type {Engine} */
  #engine;
  /** @type {Map<string, Set<(message: any) => void>>} */
  #listeners = new Map();
  /** @type {(error: unknown, event: DurablyEvent | State) => void} */
  #onError = (error) => reportError(error);

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
    this.#reader = new Reader((name, params) => connection.read(name, params));
    this.#engine = {
      durably: this,
      call: (method, params) => connection.call(method, params),
      names: async () => (await connection.init()).jobs,
      knownName: (key) => connection.jobNames[key] ?? key,
    };
    this.jobs = new Proxy(/** @type {Record<string, JobHandle>} */ ({}), {
      get: (handles, key) => (typeof key === 'string' && key !== 'then' ? (handles[key] ??= new JobHandle(this.#engine, { key })) : undefined),
    });
    connection.told.onEvent((event) => this.#emit(event.type, event));
    connection.told.onState((state) => this.#emit('state', state));
  }

  /** The engine's state as it was last told: `starting`, `leader`, `follower`, `stopped` or `failed`. */
  get state() {
    return this.#connection.told.state.state;
  }

  /**
   * Resolve once an engine is ready; reject with the reason if it cannot start.
   * @returns {Promise<void>}
   */
  async init() {
    await this.#connection.init();
  }

  /**
   * Return the handle of a job by its name; whether there is one turns out when it is called.
   * @param {string} name
   */
  getJob(name) {
    return new JobHandle(this.#engine, { name });
  }

  /**
   * Give Python's jobs keys of the page's choice, from stubs such as `{ importCsv: { name: 'import-csv', run() {} } }`.
   * @template {Record<string, { name: string }>} T
   * @param {T} stubs
   * @returns {this & { jobs: Record<keyof T, JobHandle> }} this client
   */
  register(stubs) {
    for (const [key, { name }] of Object.entries(stubs)) this.jobs[key] = this.getJob(name);
    return /** @type {this & { jobs: Record<keyof T, JobHandle> }} */ (this);
  }

  /**
   * Let the runs in flight end and stop the engine.
   * @returns {Promise<void>}
   */
  stop() {
    return this.#connection.stop();
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
   * @param {EventType | '*' | 'state'} type
   * @param {(message: any) => void} listener
   * @returns {() => void} ends the subscription
   */
  on(type, listener) {
    if (type !== '*' && type !== 'state' && !EVENT_TYPES.includes(type)) {
      throw toError({ name: 'ValidationError', message: `Unknown event type "${type}"; there are: ${EVENT_TYPES.join(', ')}, state, *` });
    }
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    for (const event of this.#connection.told.leased.latest(type)) {
      queueMicrotask(() => listeners.has(listener) && this.#tell(listener, event));
    }
    return () => listeners.delete(listener);
  }

  /**
   * Call a function when a listener throws; the last one set wins.
   * @param {(error: unknown, event: DurablyEvent | State) => void} listener
   */
  onError(listener) {
    this.#onError = listener;
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
   * @param {RunFilter} [filter]
   * @returns {Promise<Run[]>}
   */
  getRuns(filter = {}) {
    return this.#reader.runs(filter);
  }

  /**
   * Trigger an ended run again, with the same input, labels and concurrency key.
   * @param {string} id
   * @returns {Promise<Run>} the new run
   */
  retrigger(id) {
    return this.#call('retrigger', { id });
  }

  /**
   * Delete an ended run with its steps and logs.
   * @param {string} id
   * @returns {Promise<void>}
   */
  async deleteRun(id) {
    await this.#call('deleteRun', { id });
  }

  /**
   * Delete runs that ended before a time, oldest first, and resolve with their number.
   * @param {{ olderThan: Date, limit?: number }} options at most `limit`, 500 if none is given
   * @returns {Promise<number>}
   */
  async purgeRuns({ olderThan, limit }) {
    return this.#call('purgeRuns', { olderThan: olderThan.toISOString(), ...(limit === undefined ? {} : { limit }) });
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
   * A job that computes without a pause cannot hear of it: when `graceMs` have passed, 500 if none are given, the
   * engine is ended in the middle of that step, and the next one resumes all other runs from their checkpoints.
   * @param {string} id
   * @param {{ graceMs?: number }} [options]
   * @returns {Promise<void>}
   */
  cancel(id, { graceMs = 500 } = {}) {
    return cancel(this.#connection, id, graceMs);
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
   * @param {WaitOptions} [options]
   * @returns {Promise<Run>}
   */
  waitForRun(id, options = {}) {
    return waitForRun(this, id, options);
  }

  /**
   * @param {string} method
   * @param {object} params
   * @returns {Promise<any>}
   */
  #call(method, params) {
    return this.#connection.call(method, params);
  }

  /**
   * @param {string} type
   * @param {DurablyEvent | State} message
   */
  #emit(type, message) {
    const listeners = [...(this.#listeners.get(type) ?? []), ...((type !== 'state' && this.#listeners.get('*')) || [])];
    for (const listener of listeners) this.#tell(listener, message);
  }

  /**
   * @param {(message: any) => void} listener
   * @param {DurablyEvent | State} message
   */
  #tell(listener, message) {
    try {
      listener(message);
    } catch (error) {
      this.#onError(error, message);
    }
  }
}
