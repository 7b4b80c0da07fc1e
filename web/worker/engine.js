/**
 * The engine of the worker that holds the lock: its database, its Python, once that is needed, and the calls that it is
 * given. Reads it answers by itself, whatever Python does. Knows the order of the boot, neither jobs nor what is stored.
 */
import { finishBoot } from './boot.js';
import { Deliveries } from './deliveries.js';
import { startHost } from './host.js';
import { readModules } from './modules.js';
import { forgetSqlite } from './other_store.js';
import { openStore } from './storage.js';
import { attachFile, toFile } from './transfer.js';
import { isChanging } from '../shared/outbox.js';
import { toErrorMessage } from '../shared/rpc.js';

/** @import { Host, Opened } from './host.js' */
/** @import { Store } from './storage.js' */
/** @import { ReadName } from '../shared/reads.js' */
/** @import { Call, ErrorMessage, Hello, Notice, OpenParams, Reply, Stage, State, StoreInfo, ToClient } from '../shared/protocol.js' */

/**
 * @typedef {object} Outlet  what the engine tells
 * @property {() => State} state
 * @property {(message: ToClient) => void} post
 * @property {(reply: Reply) => Promise<Reply>} vet  returns what may be replied
 * @property {(hello: Hello) => State | null} meet  takes what another tab says first, and returns its answer
 * @property {(notice: Notice) => void} tellNotice
 * @property {(stage: Stage) => void} enter
 * @property {(opened: { epoch: number, givenUp: string[] }) => void} begin  called when calls may be applied
 * @property {() => void} lead  called when it is ready
 * @property {(modules: string) => void} askForSnapshot
 * @property {(error: ErrorMessage) => void} fail
 * @property {() => void} replace  called when a job was abandoned, which may go on in this worker for ever
 */

const UNFINISHED = { status: ['pending', 'leased'], jobName: [], labels: {}, limit: 1, offset: 0 };

export class Engine {
  #params;
  #kind;
  #outlet;
  #deliveries;
  /** @type {Promise<Store>} */
  #opening;
  /** @type {Host | null} */
  #host = null;
  #isReady = false;
  /** @type {Call[]} calls that came before Python was there to answer them */
  #early = [];
  /** Resolved once Python is needed: by a call that only it can answer, or by work that waits. */
  #need = /** @type {PromiseWithResolvers<void>} */ (Promise.withResolvers());
  /** Resolved once Python has brought the database up to date. */
  #migrated = /** @type {PromiseWithResolvers<void>} */ (Promise.withResolvers());

  /**
   * @param {OpenParams & { adopts: StoreInfo['kind'] | null }} params  with the store from which all has to be moved first
   * @param {StoreInfo['kind']} kind
   * @param {Outlet} outlet
   */
  constructor(params, kind, outlet) {
    this.#params = params;
    this.#kind = kind;
    this.#outlet = outlet;
    this.#deliveries = new Deliveries(params.database, {
      pass: (call) => this.#pass(call),
      apply: (call) => this.#apply(call),
      forget: async (ids) => this.#host?.forget_calls(JSON.stringify(ids)),
      post: outlet.post,
      report: ({ method }, { error }) => this.#host?.report_rejection(method, error?.message ?? ''),
      meet: outlet.meet,
      state: outlet.state,
    });
    addEventListener('error', () => this.#rest());
    const onEnd = (/** @type {Error} */ reason) => outlet.fail(toErrorMessage(reason));
    this.#opening = openStore(kind, params.database, { onNotice: outlet.tellNotice, onEnd, migrated: this.#migrated.promise });
  }

  /** Resolves when the database can be used; SQLite's is opened beside Python's boot. */
  async open() {
    if (this.#kind === 'indexeddb') await this.#opening; // it may wait for an older tab
  }

  /**
   * Start Python once it is needed, and work.
   * @param {{ isLazy: boolean }} options  whether it is needed by what there is to do only
   */
  async start({ isLazy }) {
    if (isLazy && this.#params.adopts === null) void this.#lookForWork();
    else this.#need.resolve();
    await this.#need.promise;
    const host = await this.#startHost();
    if (host === null) return;
    this.#migrated.resolve();
    this.#host = host;
    await this.#applyEarly(host);
    host.start();
    this.#isReady = true;
    this.#outlet.lead();
    for (const call of this.#early.splice(0)) this.#pass(call);
    const modules = finishBoot();
    if (modules !== null) this.#outlet.askForSnapshot(modules);
  }

  /** @returns {Promise<Host | null>} null when it has failed, and that was told */
  async #startHost() {
    const { packages, jobs, adopts, database } = this.#params;
    const { post, enter, fail, replace } = this.#outlet;
    const page = { post, enter, fail, replace, endWith: (/** @type {Error} */ reason) => fail(toErrorMessage(reason)), die: (/** @type {unknown} */ error) => this.#die(error) };
    const [host, modules] = await Promise.all([startHost(packages, page), readModules(jobs), this.#opening]);
    const opened = /** @type {Opened} */ (JSON.parse(await host.open(JSON.stringify({ ...this.#params, store: this.#kind }), modules)));
    if (opened.error) {
      fail(opened.error);
      return null;
    }
    if (adopts === 'sqlite') await forgetSqlite(database);
    this.#outlet.begin(opened);
    return host;
  }

  /**
   * Take a call of the own page.
   * @param {Call} call
   */
  take(call) {
    this.#pass(this.#deliveries.take(call));
  }

  /** @type {Deliveries['reply']} */
  reply(reply) {
    return this.#deliveries.reply(reply);
  }

  /** @type {Deliveries['tellAll']} */
  tellAll(message) {
    this.#deliveries.tellAll(message);
  }

  /**
   * End it. Until its runs have ended, calls are answered; those that come later are the page's to reject, which ends this
   * worker once they are out of the outbox: another tab's engine, which then gets the lock, must not find them.
   */
  async stop() {
    await this.#host?.stop();
    await this.#deliveries.end();
    await this.#endHost(); // what comes from here on is not applied
  }

  /** End it, but let the steps that are running end before: the next engine goes on at the next steps. */
  async handOver() {
    await this.#host?.hand_over();
    await this.#endHost(); // what comes from here on is for the next engine
  }

  async #endHost() {
    const ended = this.#host;
    this.#host = null;
    await ended?.close();
    (await this.#opening).file?.close();
  }

  /**
   * Python is dead, and whatever it was doing: an error like any other.
   * @param {unknown} error
   */
  #die(error) {
    addEventListener('unhandledrejection', (event) => event.preventDefault()); // what still calls Python fails
    reportError(error);
  }

  /**
   * An error was caught by nobody. The page, which hears of it too, puts another worker in this one's place; until then,
   * calls are not answered, nor is the page's report of this death counted here, and the lock is held.
   */
  #rest() {
    this.#host = null;
    void this.#deliveries.end();
  }

  /** @param {Call} call */
  #pass(call) {
    if (call.method === 'read') return void this.#read(call);
    this.#need.resolve();
    if (this.#host && this.#isReady) void this.#answer(this.#host, call);
    else this.#early.push(call);
  }

  /** @param {Call} call */
  async #read({ id, params }) {
    const { name, params: given } = /** @type {{ name: ReadName, params: object }} */ (params);
    try {
      const store = await this.#opening;
      if (this.#params.adopts) await this.#migrated.promise; // until then, not all rows are there
      this.#outlet.post({ type: 'reply', id, result: await store.read(name, given) });
    } catch (error) {
      this.#outlet.post({ type: 'reply', id, error: toErrorMessage(error) });
    }
  }

  /**
   * @param {Host} host
   * @param {Call} call
   */
  async #answer(host, call) {
    const { id, method } = call;
    try {
      const { file } = await this.#opening;
      if (method === 'exportDatabase') return this.#outlet.post({ type: 'reply', id, result: toFile(file, this.#params.database, host.export_scripts()) });
      if (method === 'importDatabase') await attachFile(file, /** @type {{ file: Blob }} */ (call.params).file);
      host.handle(JSON.stringify(call));
    } catch (error) {
      this.#outlet.post({ type: 'reply', id, error: toErrorMessage(error) });
    }
  }

  /**
   * Apply a call; whatever is wrong with it becomes its reply. Rejects when this engine has ended: the call is the next one's.
   * @param {Call} call
   * @returns {Promise<Reply>}
   */
  async #apply(call) {
    this.#early = this.#early.filter(({ id }) => id !== call.id);
    const host = this.#host;
    try {
      const reply = await host?.apply(JSON.stringify(call));
      if (reply !== undefined) return this.#outlet.vet(JSON.parse(reply));
    } catch (error) {
      if (this.#host !== null) return { type: 'reply', id: call.id, error: toErrorMessage(error) };
    }
    throw new Error('this engine has ended');
  }

  /**
   * Apply what was called before the engine was there; what only reads waits until it is `ready`.
   * @param {Host} host
   */
  async #applyEarly(host) {
    const changing = this.#early.filter(({ method }) => isChanging(method));
    this.#early = this.#early.filter(({ method }) => !isChanging(method));
    await this.#deliveries.applyAll(changing, JSON.parse(await host.known_calls()));
  }

  /** Need Python at once if there is anything for it to do, or if that cannot be told. */
  async #lookForWork() {
    try {
      const store = await this.#opening;
      if ((await this.#deliveries.haveCalls()) || (await store.read('runs', UNFINISHED)).length > 0) this.#need.resolve();
    } catch {
      this.#need.resolve();
    }
  }
}
