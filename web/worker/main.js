/**
 * The engine's worker: takes the lock, boots Python, and passes calls on to `durably_wasm/browser/host.py`.
 *
 * Knows the order of the boot and what the page is told of it; neither jobs, runs nor what is stored.
 */
import { bootPython, finishBoot, installPackages } from './boot.js';
import { IndexedDb } from './bridge/indexeddb.js';
import { Deliveries } from './deliveries.js';
import { holdLock } from './locks.js';
import { readModules } from './modules.js';
import { persistence } from './persistence.js';
import { chooseKind, openSqlite, prepareIndexedDb } from './storage.js';
import { attachFile, toFile } from './transfer.js';
import { isChanging } from '../shared/outbox.js';
import { toErrorMessage } from '../shared/rpc.js';

/** @import { Sqlite } from './bridge/sqlite.js' */
/** @import { Call, ErrorMessage, Notice, OpenParams, Reply, Stage, State, ToClient, ToEngine } from '../shared/protocol.js' */

/**
 * @typedef {object} Host  the Python end
 * @property {(params: string, modules: string) => Promise<string>} open  JSON in, JSON of an `Opened` out
 * @property {() => void} start
 * @property {(call: string) => Promise<string>} apply  JSON of a call in, JSON of its reply out
 * @property {() => Promise<string>} known_calls  JSON of the ids of the calls that the store knows
 * @property {(ids: string) => Promise<void>} forget_calls
 * @property {(method: string, message: string) => void} report_rejection
 * @property {(call: string) => void} handle
 * @property {() => Promise<void>} stop
 * @property {() => Promise<void>} close
 *
 * @typedef {{ epoch: number, error?: undefined } | { error: ErrorMessage }} Opened
 */

/** @type {State} */
let state = {
  type: 'state',
  state: 'starting',
  stage: null,
  epoch: null,
  store: { kind: 'indexeddb', persistence: null },
  notice: null,
};
let database = '';
/** @type {Host | null} */
let host = null;
/** @type {Deliveries | null} what comes from other tabs and from the outbox, to the leader */
let deliveries = null;
/** @type {Sqlite | null} the database's file, where there is one */
let sqlite = null;
/** @type {Call[]} calls that came before the host was there */
let early = [];

addEventListener('message', ({ data }) => receive(data));

/** @param {ToEngine} message */
function receive(message) {
  switch (message.type) {
    case 'hello':
      return;
    case 'call':
      if (message.method === 'open') return void open(/** @type {OpenParams} */ (message.params));
      if (message.method === 'stop') return void stop(message);
      return pass(deliveries?.take(message) ?? message);
    default:
      return /** @satisfies {never} */ (message);
  }
}

/**
 * @param {Call} call
 * @returns {Promise<Reply>}
 */
async function apply(call) {
  return JSON.parse((await host?.apply(JSON.stringify(call))) ?? '');
}

/** @param {string[]} ids */
async function forget(ids) {
  await host?.forget_calls(JSON.stringify(ids));
}

/**
 * @param {Call} call
 * @param {Reply} reply
 */
function report({ method }, { error }) {
  host?.report_rejection(method, error?.message ?? '');
}

/** @param {Call} call */
function pass(call) {
  if (host && state.stage === 'ready') void answer(host, call);
  else early.push(call);
}

/**
 * @param {Host} host
 * @param {Call} call
 */
async function answer(host, call) {
  const { id, method } = call;
  try {
    if (method === 'exportDatabase') return post({ type: 'reply', id, result: toFile(sqlite, database) });
    if (method === 'importDatabase') await attachFile(sqlite, /** @type {{ file: Blob }} */ (call.params).file);
    host.handle(JSON.stringify(call));
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
}

/** @param {OpenParams} params */
async function open(params) {
  try {
    database = params.database;
    const { kind, notice } = await chooseKind(database, params.store);
    await holdLock(database, () => tell({ state: 'follower', notice }));
    if (state.state === 'follower') early = []; // the page has sent them to the leader; what still waits it sends again
    deliveries = new Deliveries(database, { pass, apply, forget, post, report, state: () => state });
    for (const call of early) deliveries.take(call);
    if (kind === 'indexeddb') await prepareIndexedDb(database, tellNotice);
    tell({ state: 'starting', notice, store: { kind, persistence: await persistence() } });
    const opening = kind === 'sqlite' ? openSqlite(database, tellNotice, endWith) : null; // beside Python's boot
    const [python, file, modules] = await Promise.all([startHost(params), opening, readModules(params.jobs)]);
    sqlite = file;
    const opened = /** @type {Opened} */ (JSON.parse(await python.open(JSON.stringify({ ...params, store: kind }), modules)));
    if (opened.error) return fail(opened.error);
    host = python;
    state = { ...state, epoch: opened.epoch }; // from here on, calls may be applied
    await applyEarly(deliveries, host);
    host.start();
    tell({ state: 'leader', stage: 'ready', notice });
    early.splice(0).forEach(pass);
    finishBoot();
  } catch (error) {
    fail(toErrorMessage(error));
  }
}

/**
 * Apply what was called before the engine was there; what only reads waits until it is `ready`.
 * @param {Deliveries} deliveries
 * @param {Host} host
 */
async function applyEarly(deliveries, host) {
  const changing = early.filter(({ method }) => isChanging(method));
  early = early.filter(({ method }) => !isChanging(method));
  await deliveries.applyAll(changing, JSON.parse(await host.known_calls()));
}

/** @param {Notice} notice */
function tellNotice(notice) {
  tell({ notice });
}

/**
 * @param {OpenParams} params
 * @returns {Promise<Host>}
 */
async function startHost(params) {
  const { pyodide, manifest } = await bootPython(enter);
  await installPackages(pyodide, manifest, params.packages);
  pyodide.registerJsModule('durably_wasm_js', { openIndexedDb, openSqlite: reopenSqlite });
  const { Host } = pyodide.pyimport('durably_wasm.browser.host');
  const failWith = (/** @type {string} */ error) => fail(JSON.parse(error));
  return Host?.((/** @type {string} */ text) => post(JSON.parse(text)), enter, failWith);
}

/** @param {string} name */
function reopenSqlite(name) {
  return openSqlite(name, () => {});
}

/**
 * @param {string} name
 * @param {IDBTransactionDurability} durability
 */
function openIndexedDb(name, durability) {
  return IndexedDb.open(name, durability, endWith);
}

/** @param {Error} reason */
function endWith(reason) {
  fail(toErrorMessage(reason));
}

/**
 * End the engine. Until its runs have ended, calls are answered; those that come later are the page's to reject, which
 * ends this worker once they are out of the outbox: another tab's engine, which then gets the lock, must not find them.
 * @param {Call} call
 */
async function stop({ id }) {
  try {
    await host?.stop();
    await deliveries?.end();
    const ended = host;
    host = null; // what comes from here on is not applied
    await ended?.close();
    sqlite?.close();
    post({ type: 'reply', id, result: null });
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
}

/** @param {ErrorMessage} error with which the page rejects all calls, before it ends this worker */
function fail(error) {
  tell({ state: 'failed', error });
}

/** @param {Stage} stage */
function enter(stage) {
  tell({ stage });
}

/** @param {Partial<State>} change */
function tell(change) {
  state = { ...state, ...change };
  post(state);
}

/** @param {ToClient} message */
function post(message) {
  if (message.type === 'reply' && deliveries?.reply(message)) return;
  if (message.type !== 'reply') deliveries?.tellAll(message);
  postMessage(message);
}
