/**
 * Opening the IndexedDB database, in the worker or in the page, and what its refusals mean. Knows the schema, not what
 * is stored in it.
 */
import { SCHEMA_VERSION, upgrade } from './schema.js';

/** @typedef {Error & { isFull: boolean, isFinal: boolean }} StoreError  see `StoreError` in `durably_wasm/errors.py` */

/**
 * Open a database and bring its schema up to date.
 *
 * Rejects with an error named `StoreError` when IndexedDB is not available, when the database was written by a newer
 * version, or when it is not there and `create` is false.
 * @param {string} name
 * @param {{ create?: boolean, onBlocked?: (message: string) => void }} [options]  `onBlocked` is told whom this waits for
 * @returns {Promise<IDBDatabase>}
 */
export function openDatabase(name, { create = true, onBlocked = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = requestOpen(name, SCHEMA_VERSION);
    request.onupgradeneeded = ({ oldVersion }) => {
      if (oldVersion > 0 || create) return upgrade(request.result, oldVersion);
      reject(storeError(name, 'it was deleted while this page had it open; reload the page to begin anew', { isFinal: true }));
      request.transaction?.abort(); // which leaves no empty database behind
    };
    request.onblocked = () => onBlocked(blockedBy(name));
    request.onerror = () => reject(refusal(name, request.error));
    request.onsuccess = () => resolve(request.result);
  });
}

/**
 * Open a database as it is: whoever does not hold its lock neither creates nor upgrades it.
 *
 * Rejects with an error named `StoreError` when IndexedDB is not available, or when the database was written by a newer
 * version.
 * @param {string} name
 * @returns {Promise<IDBDatabase | null>} null when there is none
 */
export function openExisting(name) {
  return new Promise((resolve, reject) => {
    const request = requestOpen(name);
    request.onupgradeneeded = () => {
      resolve(null);
      request.transaction?.abort(); // which leaves no empty database behind
    };
    request.onerror = () => reject(refusal(name, request.error));
    request.onsuccess = () => {
      if (request.result.version <= SCHEMA_VERSION) return resolve(request.result);
      request.result.close();
      reject(refusal(name, new DOMException('', 'VersionError')));
    };
  });
}

/**
 * @param {string} database
 * @param {string} reason
 * @param {{ isFull?: boolean, isFinal?: boolean, cause?: unknown }} [meaning]
 * @returns {StoreError}
 */
export function storeError(database, reason, { isFull = false, isFinal = false, cause } = {}) {
  const error = new Error(`The IndexedDB database "${database}" refused: ${reason}`, { cause });
  error.name = 'StoreError';
  return Object.assign(error, { isFull, isFinal });
}

/**
 * Put IndexedDB's own errors into words: a transaction's, and, where it says less than what failed inside it, that.
 * @param {string} database
 * @param {...(DOMException | null | undefined)} errors
 */
export function refusal(database, ...errors) {
  const full = errors.find(isFull);
  const cause = full ?? errors.find((error) => error);
  if (cause?.name === 'VersionError') {
    return storeError(database, 'it was written by a newer version of this app and is left as it is; reload the page', {
      isFinal: true,
      cause,
    });
  }
  const reason = cause ? [cause.name, cause.message].filter(Boolean).join(': ') : 'it gave no reason';
  return storeError(database, full ? `there is no room left (${reason})` : reason, { isFull: full !== undefined, cause });
}

/**
 * Whether there is no room left. Not every browser says so by the error's name: some wrap it in an `AbortError`, or
 * only mention it.
 * @param {unknown} error
 * @returns {boolean}
 */
function isFull(error) {
  if (!(error instanceof Error)) return false;
  return error.name === 'QuotaExceededError' || /QuotaExceeded|quota|disk (is )?full|full disk/i.test(error.message) || isFull(error.cause);
}

/**
 * Whether a new connection is worth a try: the old one may be dead, since it was closed (`InvalidStateError`), the browser
 * ended its transactions (`AbortError`), or its server is gone (`UnknownError` in WebKit); or a transaction ended before its
 * next request (`TransactionInactiveError`), since Firefox runs no promise job while a page waits in `alert()` or for a
 * synchronous request, but goes on telling what IndexedDB has done.
 * @param {unknown} error
 */
export function isLoss(error) {
  const { name } = error instanceof Error ? error : { name: '' };
  return ['InvalidStateError', 'AbortError', 'UnknownError', 'TransactionInactiveError'].includes(name) && !isFull(error);
}

/** @param {string} name */
function blockedBy(name) {
  return (
    `Another tab of ${location.origin} has the database "${name}" open in an older version of this app. ` +
    'This tab goes on as soon as that one is closed or reloaded.'
  );
}

/**
 * @param {string} name
 * @param {number} [version] that which it has, if none is given
 */
function requestOpen(name, version) {
  if (globalThis.indexedDB === undefined) {
    throw storeError(name, 'this browser offers no IndexedDB here (a private window?)');
  }
  try {
    return indexedDB.open(name, version);
  } catch (error) {
    throw refusal(name, /** @type {DOMException} */ (error));
  }
}
