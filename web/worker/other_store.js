/**
 * The store that an engine does not use, in which a site's runs may lie from before. Knows whether they do, not how they
 * are moved (`durably_wasm/stores/adoption.py`).
 */
import { importModule } from './files.js';
import { busy, isMarked, unmark, whatSqliteMisses } from './storage.js';
import { openExisting } from '../shared/database.js';
import { deleteFiles, hasFiles, liesElsewhere, otherThan, storeError } from '../shared/stores.js';

/** @import { Notice, OpenParams, StoreInfo } from '../shared/protocol.js' */

/**
 * @typedef {{ runs: boolean, calls: boolean }} Contents  whether there is anything of a run, and any call's outcome
 * @typedef {(database: string, onNotice: (notice: Notice) => void) => Promise<Contents>} Look
 */

const NOTHING = { runs: false, calls: false };
const BESIDE_RUNS = ['meta', 'calls'];
const IN_SQLITE = `SELECT
  EXISTS (SELECT 1 FROM runs) OR EXISTS (SELECT 1 FROM payloads) OR EXISTS (SELECT 1 FROM steps)
    OR EXISTS (SELECT 1 FROM logs) OR EXISTS (SELECT 1 FROM crashes),
  EXISTS (SELECT 1 FROM calls)`;

/** @type {Record<StoreInfo['kind'], Look>} */
const LOOKS = { indexeddb: lookAtIndexedDb, sqlite: lookAtSqlite };

/**
 * Find the store from which all has to be moved before an engine may start; to be called under the lock.
 *
 * What calls have come to is moved without being asked for: it hides nothing, and a call that comes again must find it.
 * Rejects with an error named `StoreError` when runs lie there that are not to be moved, or when that cannot be told.
 * @param {OpenParams} params
 * @param {StoreInfo['kind']} kind that which the engine uses
 * @param {(notice: Notice) => void} onNotice called when there is something to wait for
 * @returns {Promise<StoreInfo['kind'] | null>} null when nothing has to be moved
 */
export async function whatToAdopt({ database, adopt }, kind, onNotice) {
  const other = otherThan(kind);
  const { runs, calls } = await LOOKS[other](database, onNotice);
  if (runs && !adopt) throw liesElsewhere(database, other, kind);
  return runs || calls ? other : null;
}

/**
 * Delete an empty SQLite database, which every start would have to open else. Where that fails, the next one tries again.
 * @param {string} database
 * @returns {Promise<void>}
 */
export async function forgetSqlite(database) {
  try {
    await deleteFiles(database);
    await unmark(database);
  } catch (error) {
    console.warn(`durably: the files of an empty SQLite database cannot be deleted: ${error}`);
  }
}

/** @type {Look} */
async function lookAtIndexedDb(name) {
  const database = globalThis.indexedDB === undefined ? null : await openExisting(name);
  if (database === null) return NOTHING;
  try {
    const stores = [...database.objectStoreNames];
    const transaction = database.transaction(stores);
    const isEmpty = await Promise.all(stores.map((store) => isEmptyStore(transaction.objectStore(store))));
    const filled = stores.filter((_, position) => !isEmpty[position]);
    return { runs: filled.some((store) => !BESIDE_RUNS.includes(store)), calls: filled.includes('calls') };
  } finally {
    database.close();
  }
}

/**
 * @param {IDBObjectStore} store
 * @returns {Promise<boolean>}
 */
function isEmptyStore(store) {
  return new Promise((resolve, reject) => {
    const request = store.getAllKeys(null, 1);
    request.onsuccess = () => resolve(request.result.length === 0);
    request.onerror = () => reject(request.error);
  });
}

/** @type {Look} */
async function lookAtSqlite(database, onNotice) {
  const isThere = (await hasFiles(database)) ?? (await isMarked(database));
  if (!isThere) return NOTHING;
  const missing = await whatSqliteMisses();
  if (missing !== null) throw storeError(`The runs of "${database}" lie in SQLite, which cannot be used here now: ${missing}`);
  const contents = await contentsOfSqlite(database, onNotice);
  if (!contents.runs && !contents.calls) await forgetSqlite(database);
  return contents;
}

/** @type {Look} */
async function contentsOfSqlite(database, onNotice) {
  /** @type {typeof import('./bridge/sqlite.js')} */
  const { Sqlite } = await importModule(new URL('bridge/sqlite.js', import.meta.url));
  try {
    const file = await Sqlite.open(database, () => onNotice(busy(database)));
    try {
      const ask = (/** @type {string} */ sql) => JSON.parse(file.run(JSON.stringify([[JSON.parse(file.prepare(sql)).number, []]])))[0][0];
      const [version] = ask('PRAGMA user_version');
      if (version === 0) return NOTHING; // it was never used
      const [runs, calls] = ask(IN_SQLITE);
      return { runs: runs === 1, calls: calls === 1 };
    } finally {
      file.close();
    }
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    throw storeError(`It cannot be told whether runs of "${database}" lie in SQLite: ${message}`);
  }
}
