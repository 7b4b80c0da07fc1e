/**
 * This page's own worker, in which an engine leads or waits to. Knows its life, not what it says.
 */
import { helloOf } from '../shared/protocol.js';

/** @import { OpenParams, ToClient, ToEngine } from '../shared/protocol.js' */

/**
 * @typedef {object} Owner
 * @property {(message: ToClient) => void} receive
 * @property {(reason: string) => void} fail  called when the worker has broken down
 */

export class OwnEngine {
  #params;
  #owner;
  /** @type {Worker | null} null while it is ended */
  #worker = null;
  #isFirst = true;

  /**
   * @param {OpenParams} params
   * @param {Owner} owner
   */
  constructor(params, owner) {
    this.#params = params;
    this.#owner = owner;
  }

  /** Start a worker: the page's first waits until Python is needed, for what the page does first. */
  start() {
    const { database, app } = this.#params;
    const worker = new Worker(new URL('../worker/main.js', import.meta.url), { type: 'module', name: `durably:${database}` });
    worker.onmessage = ({ data }) => this.#owner.receive(data);
    worker.onerror = (event) => this.#fail(event);
    this.#worker = worker;
    this.post(helloOf(app));
    this.post({ type: 'call', id: 'open', method: 'open', params: { ...this.#params, isLazy: this.#isFirst } });
    this.#isFirst = false;
  }

  /** End the worker, which frees the lock for the next. What it may still say while it computes is not heard. */
  end() {
    if (this.#worker === null) return;
    this.#worker.onmessage = this.#worker.onerror = null;
    this.#worker.terminate();
    this.#worker = null;
  }

  /** @param {ToEngine} message */
  post(message) {
    this.#worker?.postMessage(message);
  }

  /** @param {ErrorEvent} event */
  #fail(event) {
    event.preventDefault();
    this.#owner.fail(event.message || 'its script could not be loaded');
  }
}
