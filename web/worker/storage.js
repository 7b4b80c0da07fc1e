/**
 * Which database this browser can keep runs in. Knows what each kind needs, not how it is used.
 *
 * SQLite lies on the origin-private file system, which not every browser offers everywhere. Where it is missing,
 * IndexedDB stands in, unless the runs lie in SQLite already: then going on without them would lose them.
 */
import { Connection } from './bridge/connection.js';
import { importModule } from './files.js';
import { SqliteReads } from './sqlite_reads.js';
import { explained } from '../shared/denied.js';
import { READS } from '../shared/reads.js';
import { storeError } from '../shared/stores.js';

/** @import { Sqlite } from './bridge/sqlite.js' */
/** @import { StoreInfo, Notice } from '../shared/protocol.js' */
/** @import { StoreError } from '../shared/database.js' */
/** @import { ReadName } from '../shared/reads.js' */

/**
 * @typedef {object} Store
 * @property {Sqlite | null} file  null where the runs are in IndexedDB
 * @property {(name: ReadName, params: object) => Promise<Record<string, any>[]>} read  one of `shared/reads.js`
 *
 * @typedef {object} Watcher
 * @property {(notice: Notice) => void} onNotice  called when there is something to wait for
 * @property {(reason: StoreError) => void} onEnd  called when the database is gone, while open
 * @property {Promise<void>} migrated  resolves when Python has brought the database up to date
 */

/**
 * Choose the kind of database for what the page wants.
 *
 * Rejects with an error named `StoreError` when its runs lie where they cannot be read now.
 * @param {string} database
 * @param {StoreInfo['kind']} wanted
 * @returns {Promise<{ kind: StoreInfo['kind'], notice: Notice | null }>}
 */
export async function chooseKind(database, wanted) {
  const missing = wanted === 'sqlite' ? await whatSqliteMisses() : 'it was not asked for';
  if (missing === null) return { kind: 'sqlite', notice: null };
  if (wanted === 'sqlite' && (await isMarked(database))) {
    throw storeError(`The runs of "${database}" lie in SQLite, which cannot be used here now: ${missing}`);
  }
  return { kind: 'indexeddb', notice: wanted === 'sqlite' ? fallback(missing) : null };
}

/**
 * Open a database for the reads that need no Python; to be called under the lock.
 *
 * A new IndexedDB database is created, an older one brought up to date. With a SQLite one Python does that.
 * @param {StoreInfo['kind']} kind
 * @param {string} database
 * @param {Watcher} watcher
 * @returns {Promise<Store>}
 */
export async function openStore(kind, database, { onNotice, onEnd, migrated }) {
  if (kind === 'sqlite') {
    const file = await openSqlite(database, onNotice, onEnd);
    const reads = await SqliteReads.over(file, migrated);
    return { file, read: (name, params) => reads.read(name, params) };
  }
  const onBlocked = (/** @type {string} */ message) => onNotice({ name: 'StoreError', message });
  const connection = await Connection.open(database, onEnd, onBlocked);
  return { file: null, read: (name, params) => connection.use((opened) => READS[name](opened, params)) };
}

/**
 * Open a SQLite database, and remember that there is one.
 * @param {string} database
 * @param {(notice: Notice) => void} onNotice called when there is something to wait for
 * @param {(reason: StoreError) => void} [onEnd] called when it is gone, while open
 */
export async function openSqlite(database, onNotice, onEnd = () => {}) {
  /** @type {typeof import('./bridge/sqlite.js')} */
  const { Sqlite } = await importModule(new URL('bridge/sqlite.js', import.meta.url));
  const opened = await Sqlite.open(database, () => onNotice(busy(database)));
  await mark(database, onEnd);
  return opened;
}

/**
 * The notice of an engine that waits because another worker holds its database's files.
 * @param {string} database
 * @returns {Notice}
 */
export function busy(database) {
  return { name: 'StoreBusy', message: `Waiting for another worker to let go of the files of "${database}"` };
}

/** @returns {Promise<string | null>} null when there is all that SQLite needs */
export async function whatSqliteMisses() {
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
 *
 * It stays open, and so tells when the browser's data is wiped: open files go on as if nothing had happened.
 * @param {string} database
 * @param {(reason: StoreError) => void} onEnd
 */
async function mark(database, onEnd) {
  try {
    await Connection.open(markOf(database), onEnd);
  } catch {
    // a browser without IndexedDB has nothing to fall back to either
  }
}

/**
 * Whether there is a mark that there is a SQLite database.
 * @param {string} database
 */
export async function isMarked(database) {
  const databases = await globalThis.indexedDB?.databases().catch((error) => {
    throw explained('IndexedDB', error);
  });
  return databases?.some(({ name }) => name === markOf(database)) ?? false;
}

/**
 * Take the mark away: there is no SQLite database any more.
 * @param {string} database
 * @returns {Promise<void>}
 */
export function unmark(database) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(markOf(database));
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
  });
}

/** @param {string} database */
function markOf(database) {
  return `durably:${database}:sqlite`;
}
