/**
 * Opening the IndexedDB database, in the worker or in the page, and what its refusals mean. Knows the schema, not what
 * is stored in it.
 */
import { denial, isDenied } from './denied.js';
import { SCHEMA_VERSION, upgrade } from './schema.js';

/**
 * @typedef {Error & { isFull: boolean, isFinal: boolean, isCausedByData: boolean }} StoreError  see `StoreError` in
 *   `durably_wasm/errors.py`
 */

/** @typedef {'full' | 'data' | 'final'} Kind  of failure; one of no kind passes */

/**
 * What IndexedDB and JavaScript throw, by the error's name or by what it mentions: not every browser says by the name that
 * there is no room, and some wrap that in an `AbortError`. `RangeError` and Firefox's `InternalError` come from texts that
 * are too long, `NotReadableError` from a large value whose file the browser has lost.
 * @type {{ kind: Kind, names: string[], words?: RegExp }[]}
 */
const KINDS = [
  { kind: 'full', names: ['QuotaExceededError'], words: /QuotaExceeded|quota|disk (is )?full|full disk/i },
  {
    kind: 'data',
    names: ['ConstraintError', 'DataCloneError', 'DataError', 'InternalError', 'NotReadableError', 'RangeError'],
    words: /too large/i,
  },
  { kind: 'final', names: ['NotFoundError', 'SecurityError', 'VersionError'], words: /denied permission/i },
];

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
 * @param {{ isFull?: boolean, isFinal?: boolean, isCausedByData?: boolean, cause?: unknown }} [meaning]
 * @returns {StoreError}
 */
export function storeError(database, reason, { isFull = false, isFinal = false, isCausedByData = false, cause } = {}) {
  const error = new Error(`The IndexedDB database "${database}" refused: ${reason}`, { cause });
  error.name = 'StoreError';
  return Object.assign(error, { isFull, isFinal, isCausedByData });
}

/**
 * @param {unknown} error
 * @returns {error is StoreError}
 */
export function isStoreError(error) {
  return error instanceof Error && error.name === 'StoreError';
}

/**
 * Put what IndexedDB or JavaScript threw into words: a transaction's error, and, where it says less than what failed
 * inside it, that.
 * @param {string} database
 * @param {...unknown} errors
 */
export function refusal(database, ...errors) {
  const cause = errors.find(kindOf) ?? errors.find((error) => error);
  const kind = kindOf(cause);
  return storeError(database, wordsFor(kind, cause), {
    isFull: kind === 'full',
    isFinal: kind === 'final',
    isCausedByData: kind === 'data',
    cause,
  });
}

/**
 * @param {Kind | null} kind
 * @param {unknown} cause
 */
function wordsFor(kind, cause) {
  if (!(cause instanceof Error)) return cause ? String(cause) : 'it gave no reason';
  if (cause.name === 'VersionError') return 'it was written by a newer version of this app and is left as it is; reload the page';
  if (isDenied(cause)) return `${denial('IndexedDB')} (${cause})`;
  const reason = [cause.name, cause.message].filter(Boolean).join(': ');
  return kind === 'full' ? `there is no room left (${reason})` : reason;
}

/**
 * @param {unknown} error
 * @returns {Kind | null} null where it passes
 */
function kindOf(error) {
  if (!(error instanceof Error)) return null;
  const known = KINDS.find(({ names, words }) => names.includes(error.name) || words?.test(error.message));
  return known?.kind ?? kindOf(error.cause);
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
  return ['InvalidStateError', 'AbortError', 'UnknownError', 'TransactionInactiveError'].includes(name) && kindOf(error) === null;
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
