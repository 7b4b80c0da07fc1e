/**
 * The engine's worker: takes the lock, boots Python, and passes calls on to `durably_wasm/browser/host.py`.
 *
 * Knows the order of the boot and what the page is told of it; neither jobs, runs nor what is stored.
 */
import { bootPython, finishBoot, installPackages } from './boot.js';
import { IndexedDb } from './bridge/indexeddb.js';
import { holdLock } from './locks.js';
import { readModules } from './modules.js';
import { openDatabase } from '../shared/database.js';
import { toErrorMessage } from '../shared/rpc.js';

/** @import { Call, ErrorMessage, OpenParams, Stage, State, ToClient, ToEngine } from '../shared/protocol.js' */

/**
 * @typedef {object} Host  the Python end
 * @property {(params: string, modules: string) => Promise<string>} open  JSON in, JSON of an `Opened` out
 * @property {(call: string) => void} handle
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
/** @type {Host | null} */
let host = null;
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
      return pass(message);
    default:
      return /** @satisfies {never} */ (message);
  }
}

/** @param {Call} call */
function pass(call) {
  if (host) host.handle(JSON.stringify(call));
  else early.push(call);
}

/** @param {OpenParams} params */
async function open(params) {
  try {
    (await openDatabase(params.database)).close(); // without IndexedDB nothing else needs to be loaded
    await holdLock(params.database, () => tell({ state: 'follower' }));
    tell({ state: 'starting', store: { kind: 'indexeddb', persistence: await persistence() } });
    const modules = readModules(params.jobs);
    modules.catch(() => {}); // awaited below, after what takes longer
    const python = await startHost(params);
    const opened = /** @type {Opened} */ (JSON.parse(await python.open(JSON.stringify(params), await modules)));
    if (opened.error) return fail(opened.error);
    host = python;
    tell({ state: 'leader', stage: 'ready', epoch: opened.epoch });
    early.splice(0).forEach(pass);
    finishBoot();
  } catch (error) {
    fail(toErrorMessage(error));
  }
}

/**
 * @param {OpenParams} params
 * @returns {Promise<Host>}
 */
async function startHost(params) {
  const { pyodide, manifest } = await bootPython(enter);
  await installPackages(pyodide, manifest, params.packages);
  pyodide.registerJsModule('durably_wasm_js', { openIndexedDb: IndexedDb.open });
  const { Host } = pyodide.pyimport('durably_wasm.browser.host');
  return Host?.((/** @type {string} */ text) => post(JSON.parse(text)), enter);
}

/** @param {Call} call */
async function stop({ id }) {
  try {
    await host?.close();
    post({ type: 'reply', id, result: null });
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
  close(); // which releases the lock
}

/** @param {ErrorMessage} error */
function fail(error) {
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
  postMessage(message);
}

async function persistence() {
  return (await navigator.storage?.persisted?.()) ? /** @type {const} */ ('persistent') : 'best-effort';
}
