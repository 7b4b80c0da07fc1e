/**
 * The engine's worker: takes the lock, boots Python, and passes calls on to `durably_wasm/browser/host.py`.
 *
 * Knows the order of the boot and what the page is told of it; neither jobs, runs nor what is stored.
 */
import { bootPython, finishBoot, installPackages } from './boot.js';
import { IndexedDb } from './bridge/indexeddb.js';
import { Deliveries } from './deliveries.js';
import { GivingWay, isOver } from './giving_way.js';
import { readModules } from './modules.js';
import { persistence } from './persistence.js';
import { chooseKind, openSqlite, prepareIndexedDb } from './storage.js';
import { succeed } from './succession.js';
import { attachFile, toFile } from './transfer.js';
import { toErrorMessage } from '../shared/rpc.js';

/** @import { Decide, End } from './bridge/indexeddb.js' */
/** @import { Sqlite } from './bridge/sqlite.js' */
/** @import { Call, ErrorMessage, Notice, OpenParams, Reply, Stage, State, ToClient, ToEngine } from '../shared/protocol.js' */

/**
 * @typedef {object} Host  the Python end
 * @property {(params: string, modules: string) => Promise<string>} open  JSON in, JSON of an `Opened` out
 * @property {() => void} start
 * @property {(call: string) => Promise<string>} apply  JSON of a call in, JSON of its reply out
 * @property {(kept: string) => Promise<void>} forget_calls
 * @property {(method: string, message: string) => void} report_rejection
 * @property {(call: string) => void} handle
 * @property {() => Promise<void>} close
 * @property {() => Promise<void>} hand_over
 *
 * @typedef {{ epoch: number, error?: undefined } | { error: ErrorMessage }} Opened
 */

/** @type {Notice} */
const SUSPENDED = {
  name: 'LeaderSuspended',
  message: 'The tab that does the work does not answer. Bring it to the front or close it, and the work goes on.',
};

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
const givingWay = new GivingWay({ state: () => state, tell, handOver });

addEventListener('message', ({ data }) => receive(data));

/** @param {ToEngine} message */
function receive(message) {
  switch (message.type) {
    case 'hello':
      givingWay.hello = message;
      return;
    case 'call':
      if (message.method === 'open') return void open(/** @type {OpenParams} */ (message.params));
      if (message.method === 'stop') return void stop(message);
      deliveries?.know(message);
      return pass(message);
    default:
      return /** @satisfies {never} */ (message);
  }
}

/**
 * @param {Call} call
 * @returns {Promise<Reply>}
 */
async function apply(call) {
  const reply = JSON.parse((await host?.apply(JSON.stringify(call))) ?? '');
  if (isOver(reply.error)) return givingWay.endDeposed();
  return { ...reply, epoch: state.epoch };
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
    await succeed({
      database,
      hello: givingWay.hello,
      leaseMs: params.options.leaseMs,
      canSteal: kind === 'indexeddb',
      onWaiting: () => tell({ state: 'follower', notice }),
      onSilence: (isSilent) => tell({ notice: isSilent ? SUSPENDED : notice }),
      onLost: () => givingWay.endDeposed(),
    });
    if (state.state === 'follower') early = []; // the page has sent them to the leader; what still waits it sends again
    deliveries = new Deliveries(database, { pass, apply, report, meet: (hello) => givingWay.meet(hello), state: () => state });
    for (const call of early) deliveries.know(call);
    if (kind === 'indexeddb') await prepareIndexedDb(database, tellNotice);
    tell({ state: 'starting', notice, store: { kind, persistence: await persistence() } });
    const opening = kind === 'sqlite' ? openSqlite(database, tellNotice, endWith) : null; // beside Python's boot
    const [python, file, modules] = await Promise.all([startHost(params), opening, readModules(params.jobs)]);
    sqlite = file;
    const opened = /** @type {Opened} */ (JSON.parse(await python.open(JSON.stringify({ ...params, store: kind }), modules)));
    if (opened.error) return fail(opened.error);
    host = python;
    state = { ...state, epoch: opened.epoch };
    await host.forget_calls(JSON.stringify(await deliveries.applyOutbox()));
    host.start();
    tell({ state: 'leader', stage: 'ready', notice });
    early.splice(0).forEach(pass);
    finishBoot();
  } catch (error) {
    fail(toErrorMessage(error));
  }
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
 * @param {Decide} decide
 * @param {End} end
 */
function openIndexedDb(name, durability, decide, end) {
  return IndexedDb.open(name, durability, decide, end, endWith);
}

/** @param {Error} reason */
function endWith(reason) {
  fail(toErrorMessage(reason));
}

/** @param {Call} call */
async function stop({ id }) {
  try {
    await host?.close();
    sqlite?.close();
    post({ type: 'reply', id, result: null });
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
  close(); // which releases the lock
}

/** End the engine, but let the steps that are running end before: the next one goes on at the next steps. */
async function handOver() {
  await host?.hand_over();
  const ended = host;
  host = null; // what comes from here on is for the next engine
  await ended?.close();
  sqlite?.close();
}

/** @param {ErrorMessage} error */
function fail(error) {
  if (isOver(error)) return void givingWay.endDeposed();
  tell({ state: 'failed', error }); // with which the page rejects all calls
  close(); // and the lock is free for another tab
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
  if (message.type === 'reply') return postReply({ ...message, epoch: state.epoch });
  deliveries?.tellAll(message);
  postMessage(message);
}

/** @param {Reply} reply */
function postReply(reply) {
  if (isOver(reply.error)) return void givingWay.endDeposed();
  if (!deliveries?.reply(reply)) postMessage(reply);
}
