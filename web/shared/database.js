/**
 * Opening the IndexedDB database, in the worker or in the page. Knows the schema, not what is stored in it.
 */
import { SCHEMA_VERSION, upgrade } from './schema.js';

/**
 * Open a database and bring its schema up to date.
 *
 * Rejects with an error named `StoreError` when IndexedDB is not available, when the database was written by a newer
 * version, or when another tab with an older version keeps it open.
 * @param {string} name
 * @returns {Promise<IDBDatabase>}
 */
export function openDatabase(name) {
  return new Promise((resolve, reject) => {
    const request = requestOpen(name);
    request.onupgradeneeded = ({ oldVersion }) => upgrade(request.result, oldVersion);
    request.onblocked = () => reject(storeError(name, 'another tab keeps an older version open: close that tab'));
    request.onerror = () => reject(storeError(name, reasonOf(request.error)));
    request.onsuccess = () => resolve(request.result);
  });
}

/**
 * @param {string} database
 * @param {string} reason
 */
export function storeError(database, reason) {
  const error = new Error(`The IndexedDB database "${database}" refused: ${reason}`);
  error.name = 'StoreError';
  return error;
}

/** @param {DOMException | null} error */
export function reasonOf(error) {
  if (error?.name === 'VersionError') {
    return 'it was written by a newer version of this app and is left as it is; reload the page';
  }
  return error ? `${error.name}: ${error.message}` : 'it gave no reason';
}

/** @param {string} name */
function requestOpen(name) {
  if (globalThis.indexedDB === undefined) {
    throw storeError(name, 'this browser offers no IndexedDB here (a private window?)');
  }
  try {
    return indexedDB.open(name, SCHEMA_VERSION);
  } catch (error) {
    throw storeError(name, reasonOf(/** @type {DOMException} */ (error)));
  }
}
