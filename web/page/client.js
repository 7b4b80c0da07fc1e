/**
 * The client: what a page calls. Knows the calls and the events, not where the engine runs.
 */
import { withBytesAsText } from './bytes.js';
import { Connection } from './connection.js';
import { checkOptions } from './options.js';
import { waitForRun } from './waiting.js';
import { toError } from '../shared/rpc.js';
import { EVENT_TYPES } from '../shared/events.js';

/**
 * @import { DurablyEvent, RunFilter, State, TriggerOptions } from '../shared/protocol.js'
 * @import { EventType } from '../shared/events.js'
 * @import { Run, Step, Log, TriggerResult } from './rows.js'
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
  /** @type {Map<string, Set<(message: any) => void>>} */
  #listeners = new Map();
  /** @type {(error: unknown, event: DurablyEvent | State) => void} */
  #onError = (error) => reportError(error);

  /** @type {Record<string, JobHandle>} the jobs, by the camelCase name of their variable */
  jobs;
  /** Reads of what belongs to a run. */
  storage = {
    /** @param {string} id @returns {Promise<Step[]>} */
    getSteps: (id) => this.#call('getSteps', { id }),
    /** @param {string} id @returns {Promise<Log[]>} */
    getLogs: (id) => this.#call('getLogs', { id }),
  };

  /** @param {Connection} connection */
  constructor(connection) {
    this.#connection = connection;
    this.jobs = new Proxy(/** @type {Record<string, JobHandle>} */ ({}), {
      get: (handles, key) => (typeof key === 'string' && key !== 'then' ? (handles[key] ??= this.#handle(key)) : undefined),
    });
    connection.onEvent((event) => this.#emit(event.type, event));
    connection.onState((state) => this.#emit('state', state));
  }

  /** The engine's state as it was last told: `starting`, `leader`, `follower`, `stopped` or `failed`. */
  get state() {
    return this.#connection.state.state;
  }

  /**
   * Resolve once an engine is ready; reject with the reason if it cannot start.
   * @returns {Promise<void>}
   */
  async init() {
    await this.#call('init', {});
  }

  /**
   * Let the runs in flight end and stop the engine.
   * @returns {Promise<void>}
   */
  stop() {
    return this.#connection.stop();
  }

  /**
   * Call a listener for each event of a type, for every event (`'*'`), or for each state of the engine (`'state'`).
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
    return this.#call('getRun', { id });
  }

  /**
   * List runs, newest first. A list matches any of its members; absent, null or empty: everything.
   * @param {RunFilter} [filter]
   * @returns {Promise<Run[]>}
   */
  getRuns(filter = {}) {
    return this.#call('getRuns', { filter });
  }

  /**
   * Cancel a pending or leased run, at once.
   * @param {string} id
   * @returns {Promise<void>}
   */
  async cancel(id) {
    await this.#call('cancel', { id });
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
   * @param {string} key
   * @returns {JobHandle}
   */
  #handle(key) {
    return Object.freeze({
      trigger: async (/** @type {unknown} */ input, /** @type {TriggerOptions} */ options = {}) =>
        this.#call('trigger', { job: key, input: (await withBytesAsText(input)) ?? null, options }),
    });
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
    for (const listener of listeners) {
      try {
        listener(message);
      } catch (error) {
        this.#onError(error, message);
      }
    }
  }
}

/**
 * @typedef {object} JobHandle
 * @property {(input?: unknown, options?: TriggerOptions) => Promise<TriggerResult>} trigger  store a run of the job
 */
