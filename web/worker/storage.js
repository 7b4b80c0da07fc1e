/**
 * Which database this browser can keep runs in. Knows what each kind needs, not how it is used.
 *
 * SQLite lies on the origin-private file system, which not every browser offers everywhere. Where it is missing,
 * IndexedDB stands in, unless the runs lie in SQLite already: then going on without them would lose them.
 */
import { openDatabase } from '../shared/database.js';

/** @import { StoreInfo, Notice } from '../shared/protocol.js' */

/**
 * Choose the kind of database for what the page wants.
 *
 * Rejects with an error named `StoreError` when there is none.
 * @param {string} database
 * @param {StoreInfo['kind']} wanted
 * @param {(notice: Notice) => void} onNotice called when there is something to wait for
 * @returns {Promise<{ kind: StoreInfo['kind'], notice: Notice | null }>}
 */
export async function chooseKind(database, wanted, onNotice) {
  const missing = wanted === 'sqlite' ? await whatSqliteMisses() : 'it was not asked for';
  if (missing === null) return { kind: 'sqlite', notice: null };
  if (wanted === 'sqlite' && (await isMarked(database))) {
    throw storeError(`The runs of "${database}" lie in SQLite, which cannot be used here now: ${missing}`);
  }
  const onBlocked = (/** @type {string} */ message) => onNotice({ name: 'StoreError', message });
  (await openDatabase(database, { onBlocked })).close(); // without IndexedDB nothing else needs to be loaded
  return { kind: 'indexeddb', notice: wanted === 'sqlite' ? fallback(missing) : null };
}

/**
 * Open a SQLite database, and remember that there is one.
 * @param {string} database
 * @param {(notice: Notice) => void} onNotice called when there is something to wait for
 */
export async function openSqlite(database, onNotice) {
  const { Sqlite } = await import('./bridge/sqlite.js');
  const message = `Waiting for another worker to let go of the files of "${database}"`;
  const opened = await Sqlite.open(database, () => onNotice({ name: 'StoreBusy', message }));
  await mark(database);
  return opened;
}

/** @returns {Promise<string | null>} null when there is all that it needs */
async function whatSqliteMisses() {
  if (globalThis.FileSystemFileHandle?.prototype.createSyncAccessHandle === undefined) {
    return 'this browser offers no synchronous access to files';
  }
  try {
    await navigator.storage.getDirectory();
    return null;
  } catch (error) {
    return `this browser's private file system cannot be opened (${error})`;
  }
}

/**
 * @param {string} missing
 * @returns {Notice}
 */
function fallback(missing) {
  const message = `Runs are kept in IndexedDB instead of SQLite: ${missing}`;
  console.warn(message);
  return { name: 'StoreFallback', message };
}

/**
 * An empty IndexedDB database marks that there is a SQLite one: without the file system nothing else could tell.
 * @param {string} database
 */
function mark(database) {
  return new Promise((resolve) => {
    const request = indexedDB.open(markOf(database));
    request.onsuccess = () => resolve(request.result.close());
    request.onerror = resolve; // a browser without IndexedDB has nothing to fall back to either
  });
}

/** @param {string} database */
async function isMarked(database) {
  const databases = await globalThis.indexedDB?.databases();
  return databases?.some(({ name }) => name === markOf(database)) ?? false;
}

/** @param {string} database */
function markOf(database) {
  return `durably:${database}:sqlite`;
}

/** @param {string} message */
function storeError(message) {
  return Object.assign(new Error(message), { name: 'StoreError' });
}
