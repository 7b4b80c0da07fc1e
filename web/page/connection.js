/**
 * One worker and what comes from it: replies, events, states. Clients of the same database share it.
 */
import { LeasedRuns } from './leased.js';
import { persist } from './storage.js';
import { PROTOCOL_VERSION } from '../shared/protocol.js';
import { SCHEMA_VERSION } from '../shared/schema.js';
import { Calls } from '../shared/rpc.js';

/** @import { DurablyEvent, ErrorMessage, OpenParams, State, ToClient } from '../shared/protocol.js' */

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
  #worker;
  #calls;
  /** @type {Set<(event: DurablyEvent) => void>} */
  #eventListeners = new Set();
  /** @type {Set<(state: State) => void>} */
  #stateListeners = new Set();

  /** @param {OpenParams} params */
  constructor(params) {
    this.#database = params.database;
    this.#worker = new Worker(new URL('../worker/main.js', import.meta.url), {
      type: 'module',
      name: `durably:${params.database}`,
    });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => this.#fail(event);
    this.#calls = new Calls((call) => this.#worker.postMessage(call));
    this.#worker.postMessage({ type: 'hello', protocol: PROTOCOL_VERSION, schema: SCHEMA_VERSION, app: null });
    this.#worker.postMessage({ type: 'call', id: 'open', method: 'open', params });
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
    const answer = this.#calls.call(method, params);
    if (this.#ended) this.#calls.rejectAll(this.#reason);
    return answer;
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
      this.#tell(this.state);
    }
    return granted;
  }

  /** Let the runs in flight end, then end the worker. An engine that is not running yet has nothing to end. */
  async stop() {
    if (this.#ended) return;
    try {
      if (this.state.state === 'leader') await this.call('stop', {});
    } finally {
      this.#tell({ ...this.state, state: 'stopped', stage: null });
      this.#end();
    }
  }

  /** End the worker, which frees the lock for the next, and reject whatever waits for it. */
  #end() {
    connections.delete(this.#database);
    this.#worker.terminate();
    this.#calls.rejectAll(this.#reason);
  }

  get #ended() {
    return this.state.state === 'failed' || this.state.state === 'stopped';
  }

  /** @returns {ErrorMessage} */
  get #reason() {
    return this.state.error ?? { name: 'DurablyError', message: 'This engine was stopped; create a new one to go on' };
  }

  /** @param {ToClient} message */
  #receive(message) {
    switch (message.type) {
      case 'reply':
        return this.#calls.settle(message);
      case 'event':
        this.leased.hear(message.event);
        return this.#eventListeners.forEach((listener) => listener(message.event));
      case 'state':
        return this.#tell(message);
      default:
        return /** @satisfies {never} */ (message);
    }
  }

  /** @param {State} state */
  #tell(state) {
    if (state.state !== 'leader') this.leased.clear();
    this.state = this.#isPersistent ? { ...state, store: { ...state.store, persistence: 'persistent' } } : state;
    this.#stateListeners.forEach((listener) => listener(this.state));
    if (state.state === 'failed') this.#end();
  }

  /** @param {ErrorEvent} event */
  #fail(event) {
    event.preventDefault();
    const message = `The engine's worker failed: ${event.message || 'its script could not be loaded'}`;
    this.#tell({ ...this.state, state: 'failed', error: { name: 'DurablyError', message } });
  }
}
