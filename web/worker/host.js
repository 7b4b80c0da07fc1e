/**
 * The host in Python: how it is started, and what JavaScript calls of it (`durably_wasm/browser/host.py`).
 */
import { bootPython, installPackages } from './boot.js';
import { IndexedDb } from './bridge/indexeddb.js';
import { openSqlite } from './storage.js';

/** @import { Decide, End } from './bridge/indexeddb.js' */
/** @import { ErrorMessage, Stage } from '../shared/protocol.js' */

/**
 * @typedef {object} Host
 * @property {(params: string, modules: string) => Promise<string>} open  JSON in, JSON of an `Opened` out
 * @property {() => void} start
 * @property {(call: string) => Promise<string>} apply  JSON of a call in, JSON of its reply out
 * @property {() => Promise<string>} known_calls  JSON of the ids of the calls that the store knows
 * @property {(ids: string) => Promise<void>} forget_calls
 * @property {(method: string, message: string) => void} report_rejection
 * @property {(call: string) => void} handle
 * @property {() => string} export_scripts  JSON of what `Sqlite.export` takes
 * @property {() => Promise<void>} stop
 * @property {() => Promise<void>} close
 * @property {() => Promise<void>} hand_over  lets the steps that are running end, and leaves their runs to the next engine
 *
 * @typedef {{ epoch: number, givenUp: string[], error?: undefined } | { error: ErrorMessage }} Opened
 *
 * @typedef {object} Page
 * @property {(message: any) => void} post
 * @property {(stage: Stage) => void} enter
 * @property {(error: ErrorMessage) => void} fail
 * @property {() => void} replace  called when a job was abandoned, which may go on in this worker for ever
 * @property {(reason: Error) => void} endWith  called when the database is gone, while open
 * @property {(error: unknown) => void} die  called when Python is dead
 *
 * @typedef {(name: string, durability: IDBTransactionDurability, decide: Decide, end: End) => Promise<IndexedDb>} OpenIndexedDb
 */

/**
 * Boot Python, with packages beyond the engine's own.
 * @param {string[]} packages
 * @param {Page} page what the host tells
 * @returns {Promise<Host>}
 */
export async function startHost(packages, { post, enter, fail, replace, endWith, die }) {
  const { pyodide, manifest } = await bootPython(enter);
  pyodide._api.on_fatal = die;
  pyodide.registerJsModule('durably_wasm_js', {
    openIndexedDb: /** @type {OpenIndexedDb} */ ((...given) => IndexedDb.open(...given, endWith)),
    openSqlite: (/** @type {string} */ name) => openSqlite(name, () => {}),
  });
  await installPackages(pyodide, manifest, packages);
  const { Host } = pyodide.pyimport('durably_wasm.browser.host');
  return Host?.((/** @type {string} */ text) => post(JSON.parse(text)), enter, (/** @type {string} */ error) => fail(JSON.parse(error)), replace);
}
