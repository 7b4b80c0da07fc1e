/**
 * The IndexedDB bridge: one transaction a call, with the decision between its reads and its writes made in Python.
 *
 * Knows object stores, indexes, records and keys, not what a record means, nor how the connection is kept. What crosses
 * to and from Python is JSON text and a function.
 */
import { Connection } from './connection.js';
import { refusal, storeError } from '../../shared/database.js';
import { READS } from '../../shared/reads.js';

/** @import { StoreError } from '../../shared/database.js' */
/** @import { ReadName } from '../../shared/reads.js' */

/**
 * @typedef {{ op: 'get', store: string, key: IDBValidKey }} Get
 * @typedef {{ op: 'range', store: string, index: string | null, lower: IDBValidKey | null, upper: IDBValidKey | null, limit: number | null }} Range
 * @typedef {{ op: 'last', store: string, index: string | null, lower: IDBValidKey | null, upper: IDBValidKey | null }} Last
 * @typedef {{ op: 'put', store: string, record: unknown }} Put
 * @typedef {{ op: 'delete', store: string, lower: IDBValidKey, upper: IDBValidKey }} Delete
 * @typedef {Get | Range | Last} Read
 * @typedef {Put | Delete} Write
 * @typedef {Read | Write} Operation
 * @typedef {((number: number, found: string) => string) & { destroy(): void }} Decide  takes a transaction's number and JSON of what was found, returns JSON of a `Decision`, or of null where it raised
 * @typedef {((number: number, refusal: string | null) => void) & { destroy(): void }} End  is told of a transaction's end: null when it is committed, else JSON of a `StoreError`
 * @typedef {{ reads: Operation[], writes?: undefined } | { writes: Write[], reads?: undefined }} Decision  `reads` go on,
 *   with writes among them; `writes` end the transaction
 */

/**
 * Whether to commit explicitly, which saves the wait for the writes to be reported. After a `commit()` Firefox commits the
 * other writes when one has failed, so there, and where nobody has looked, a transaction commits by itself.
 */
const COMMITS = 'userAgentData' in navigator; // so this is Chromium

const CONTENTS = ['meta', 'runs', 'payloads', 'steps', 'logs', 'crashes', 'calls'];

/** An open database, as `durably_wasm/browser/bridge.py` drives it. */
export class IndexedDb {
  #connection;
  #name;
  #durability;
  #decide;
  #end;
  #underway = 0;
  #closed = false;

  /**
   * @param {string} name
   * @param {IDBTransactionDurability} durability
   * @param {Connection} connection
   * @param {Decide} decide
   * @param {End} end
   */
  constructor(name, durability, connection, decide, end) {
    this.#name = name;
    this.#durability = durability;
    this.#connection = connection;
    this.#decide = decide;
    this.#end = end;
  }

  /**
   * @param {string} name
   * @param {IDBTransactionDurability} durability
   * @param {Decide} decide destroyed, as is `end`, when the database is closed and its last transaction has ended
   * @param {End} end
   * @param {(reason: StoreError) => void} [onEnd] called when the database is gone, or a newer version's, while open
   */
  static async open(name, durability, decide, end, onEnd = () => {}) {
    try {
      return new IndexedDb(name, durability, await Connection.open(name, onEnd), decide, end);
    } catch (error) {
      decide.destroy();
      end.destroy();
      throw error;
    }
  }

  close() {
    this.#connection.close();
    this.#closed = true;
    this.#destroyIfUnused();
  }

  /**
   * Read, let Python decide what follows, and so on until it ends the transaction; then tell it of the end, whoever waits for it.
   *
   * `decide` is synchronous: between two requests of a transaction nothing may be awaited, or it commits.
   * @param {number} number
   * @param {string} reads JSON of `Read[]`
   */
  transact(number, reads) {
    this.#underway += 1;
    this.#connection
      .use((database) => this.#transact(database, number, reads))
      .then(() => null, ({ message, isFull, isFinal, isCausedByData }) => JSON.stringify({ message, isFull, isFinal, isCausedByData }))
      .then((refusal) => this.#tell(number, refusal));
  }

  /**
   * @param {number} number
   * @param {string | null} refusal
   */
  #tell(number, refusal) {
    this.#underway -= 1;
    this.#end(number, refusal);
    this.#destroyIfUnused();
  }

  #destroyIfUnused() {
    if (!this.#closed || this.#underway > 0) return;
    this.#decide.destroy();
    this.#end.destroy();
  }

  /**
   * Run a named read of `shared/reads.js`.
   * @param {ReadName} name
   * @param {string} params JSON
   * @returns {Promise<string>} JSON of the records
   */
  query(name, params) {
    return this.#connection.use(async (database) => JSON.stringify(await READS[name](database, JSON.parse(params))));
  }

  /**
   * @param {IDBDatabase} database
   * @param {number} number
   * @param {string} reads
   * @returns {Promise<void>} rejects with a `StoreError`, and is not to be repeated, once Python was asked
   */
  #transact(database, number, reads) {
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(CONTENTS, 'readwrite', { durability: this.#durability });
      let asked = false;
      /** @type {DOMException | null} */
      let failure = null;
      transaction.oncomplete = () => resolve();
      transaction.onerror = ({ target }) => (failure ??= /** @type {IDBRequest} */ (target).error);
      transaction.onabort = () => {
        const error = transaction.error ?? failure ?? new DOMException('The browser ended the transaction', 'AbortError');
        reject(asked ? refusal(this.#name, error, failure) : error);
      };

      /** @param {unknown[]} found */
      const next = (found) => {
        try {
          asked = true;
          /** @type {Decision | null} */
          const decision = JSON.parse(this.#decide(number, JSON.stringify(found)));
          if (decision === null) throw storeError(this.#name, 'the decision raised'); // what Python raises, Python knows
          if (decision.reads) return performAll(transaction, decision.reads, next);
          decision.writes.forEach((write) => requestOf(transaction, write));
          if (COMMITS) transaction.commit();
        } catch (error) {
          reject(error);
          transaction.abort();
        }
      };
      performAll(transaction, JSON.parse(reads), next);
    });
  }
}

/**
 * @param {IDBTransaction} transaction
 * @param {Operation[]} operations
 * @param {(found: unknown[]) => void} done called inside the last request's callback
 */
function performAll(transaction, operations, done) {
  /** @type {unknown[]} */
  const found = new Array(operations.length);
  let missing = operations.length;
  if (missing === 0) return done(found);
  operations.forEach((operation, position) => {
    const request = requestOf(transaction, operation);
    request.onsuccess = () => {
      found[position] = (operation.op === 'last' ? request.result?.value : request.result) ?? null;
      if (--missing === 0) done(found);
    };
  });
}

/**
 * @param {IDBTransaction} transaction
 * @param {Operation} operation
 * @returns {IDBRequest}
 */
function requestOf(transaction, operation) {
  const store = transaction.objectStore(operation.store);
  switch (operation.op) {
    case 'get':
      return store.get(operation.key);
    case 'range':
      return sourceOf(store, operation).getAll(rangeOf(operation), operation.limit ?? undefined);
    case 'last':
      return sourceOf(store, operation).openCursor(rangeOf(operation), 'prev');
    case 'put':
      return store.put(operation.record);
    case 'delete':
      return store.delete(IDBKeyRange.bound(operation.lower, operation.upper));
    default:
      return /** @satisfies {never} */ (operation);
  }
}

/**
 * @param {IDBObjectStore} store
 * @param {Range | Last} read
 */
function sourceOf(store, { index }) {
  return index === null ? store : store.index(index);
}

/** @param {Range | Last} range */
function rangeOf({ lower, upper }) {
  if (lower === null) return upper === null ? null : IDBKeyRange.upperBound(upper, true);
  return upper === null ? IDBKeyRange.lowerBound(lower) : IDBKeyRange.bound(lower, upper);
}
