/**
 * This page's own worker, in which an engine leads or waits to. Knows its life, not what it says.
 */
import { denial, isDenied } from '../shared/denied.js';
import { moduleFault } from '../shared/faults.js';
import { helloOf } from '../shared/protocol.js';
import { Calls } from '../shared/rpc.js';
import { Snapshotting } from './snapshotting.js';

/** @import { OpenParams, SnapshotRequest, ToClient, ToEngine } from '../shared/protocol.js' */

/**
 * @typedef {object} Owner
 * @property {(message: ToClient) => void} receive
 * @property {(reason: string) => void} fail  called, once, when the worker has broken down
 * @property {() => void} retry  called when a script of its could not be loaded, which is worth another try
 */

const PATIENCE_MS = 300; // with a thread that does not answer
const LOAD_AGAIN_AFTER_MS = [500, 1500];
const SILENT_AFTER_MS = 3000; // Firefox (153) tells nothing of a worker that lacks a module which its script imports

export class OwnEngine {
  #params;
  #owner;
  /** @type {Worker | null} null while it is ended */
  #worker = null;
  #isFirst = true;
  #hasSpoken = false; // before that, what fails is a script
  #retries = 0;
  #pings = new Calls((ping) => this.post(ping));
  #snapshotting = new Snapshotting();

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
    const worker = this.#createWorker();
    if (worker === null) return;
    worker.onmessage = ({ data }) => this.#receive(worker, data);
    worker.onerror = (event) => this.#fail(worker, event);
    this.#worker = worker;
    this.#hasSpoken = false;
    this.#pings.call('ping', {}).catch(() => {}); // answered as soon as its script is there
    setTimeout(() => void this.#lookWhySilent(worker), SILENT_AFTER_MS);
    this.post(helloOf(this.#params));
    this.post({ type: 'call', id: 'open', method: 'open', params: { ...this.#params, isLazy: this.#isFirst } });
    this.#isFirst = false;
  }

  /** @returns {Worker | null} null when there can be none; the owner gets the reason */
  #createWorker() {
    try {
      return new Worker(new URL('../worker/main.js', import.meta.url), { type: 'module', name: `durably:${this.#params.database}` });
    } catch (error) {
      const reason = isDenied(error) ? `${denial('workers')} (${error})` : String(error);
      queueMicrotask(() => this.#owner.fail(reason)); // the owner may not be complete yet
      return null;
    }
  }

  /** End the worker, which frees the lock for the next. What it may still say while it computes is not heard. */
  end() {
    this.#snapshotting.end();
    if (this.#worker === null) return;
    this.#worker.onmessage = null;
    this.#worker.onerror = ignore;
    this.#worker.terminate();
    this.#worker = null;
  }

  /**
   * Ask the worker's thread for a sign of life; a computing Python gives none.
   * @returns {Promise<boolean>}
   */
  answers() {
    const answer = this.#pings.call('ping', {}).then(() => true);
    const silence = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS)).then(() => false);
    return Promise.race([answer, silence]);
  }

  /** @param {ToEngine} message */
  post(message) {
    this.#worker?.postMessage(message);
  }

  /**
   * @param {Worker} worker
   * @param {ToClient | SnapshotRequest} message
   */
  #receive(worker, message) {
    this.#hasSpoken = true;
    if (message.type === 'snapshot') return this.#snapshotting.begin(message.modules);
    if (message.type === 'reply' && this.#pings.settle(message)) return;
    if (message.type === 'state' && message.error?.name === 'LoadError') return this.#retry(worker, () => this.#owner.receive(message));
    if (message.type === 'state' && (message.stage === 'ready' || message.state === 'follower')) this.#retries = 0;
    this.#owner.receive(message);
  }

  /**
   * @param {Worker} worker
   * @param {ErrorEvent} event
   */
  #fail(worker, event) {
    ignore(event);
    worker.onerror = ignore; // a dead Python makes further errors
    if (event.message) this.#owner.fail(event.message.replace(/^Uncaught /, '') + (this.#hasSpoken ? '' : ` (${placeOf(event)})`));
    else this.#retry(worker, () => void this.#explain(worker));
  }

  /** @param {Worker} worker whose script could not be loaded */
  async #explain(worker) {
    const reason = (await scriptFault()) ?? 'its files are there now; reload the page';
    if (this.#worker === worker) this.#owner.fail(`its script could not be loaded: ${reason}`);
  }

  /**
   * A file may be slow, or not be what was built and run all the same. So a worker has failed only when it still says
   * nothing after the page itself could fetch all of its files.
   * @param {Worker} worker
   */
  async #lookWhySilent(worker) {
    const isSilent = () => this.#worker === worker && !this.#hasSpoken;
    const reason = isSilent() ? await scriptFault() : null;
    if (reason !== null) setTimeout(() => isSilent() && this.#owner.fail(`its script could not be loaded: ${reason}`), SILENT_AFTER_MS);
  }

  /**
   * A page that is about to be left may be told that a script cannot be loaded: Firefox stops loading it before anything
   * tells that the page will go. That must not look as if there were no engine for what the page has called.
   * @param {Worker} worker
   * @param {() => void} giveUp
   */
  #retry(worker, giveUp) {
    const pause = LOAD_AGAIN_AFTER_MS[this.#retries++];
    if (pause === undefined) giveUp();
    else setTimeout(() => this.#worker === worker && this.#owner.retry(), pause);
  }
}

function scriptFault() {
  return moduleFault(new URL('../worker/main.js', import.meta.url));
}

/** @param {ErrorEvent} event */
function ignore(event) {
  event.preventDefault();
}

/** @param {ErrorEvent} event */
function placeOf({ filename, lineno }) {
  return `${filename || 'unknown script'}, line ${lineno}`;
}
