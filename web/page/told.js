/**
 * What a page has been told of the engine: its state, its events, and which runs it has leased. Knows who listens, not
 * where it comes from.
 */
import { LeasedRuns } from './leased.js';
import { Listeners } from './listeners.js';

/** @import { DurablyEvent, Notice, State, StoreInfo } from '../shared/protocol.js' */

/**
 * The state of a page before the first message of its engine.
 * @param {StoreInfo['kind']} kind the store that the page asks for
 * @returns {State}
 */
export function untold(kind) {
  return { type: 'state', state: 'starting', stage: null, epoch: null, store: { kind, persistence: null }, notice: null };
}

export class Told {
  /** @type {State} the last */
  state;
  leased = new LeasedRuns();
  #isPersistent = false;
  /** @type {Notice | null} */
  #loss = null;
  #listeners = new Listeners();

  /** @param {StoreInfo['kind']} kind the store that the page asks for */
  constructor(kind) {
    this.state = untold(kind);
  }

  /** Whether there will be no engine any more. */
  get hasEnded() {
    return this.state.state === 'failed' || this.state.state === 'stopped';
  }

  /** Whether this page's own engine is at work. */
  get leads() {
    return this.state.state === 'leader' && this.state.stage === 'ready';
  }

  /**
   * @param {(event: DurablyEvent) => void} listener
   * @returns {() => void} its undo
   */
  onEvent(listener) {
    return this.#listeners.add('*', listener);
  }

  /**
   * @param {(state: State) => void} listener
   * @returns {() => void} its undo
   */
  onState(listener) {
    return this.#listeners.add('state', listener);
  }

  /** @param {DurablyEvent} event */
  hear(event) {
    this.leased.hear(event);
    this.#listeners.tell(event.type, event);
  }

  /** @param {State} state */
  become(state) {
    const store = this.#isPersistent ? { ...state.store, persistence: /** @type {const} */ ('persistent') } : state.store;
    this.state = { ...state, store, notice: state.notice ?? this.#loss };
    this.#listeners.tell('state', this.state);
  }

  /** Tell that the browser will keep what is stored. */
  becomePersistent() {
    if (this.#isPersistent) return;
    this.#isPersistent = true;
    this.become(this.state);
  }

  /**
   * Tell that what was stored is gone: Chromium deletes all of a site's databases when it finds them damaged, as they may
   * be after a crash.
   * @param {string} reason
   */
  loseStored(reason) {
    const message = `The browser found what this site keeps in IndexedDB damaged, and has deleted it: ${reason}`;
    console.warn(`durably: ${message}`);
    this.#loss = { name: 'StoreLost', message };
    this.become(this.state);
  }
}
