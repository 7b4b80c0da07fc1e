/**
 * A connection to an IndexedDB database that outlives the connections that browsers close by themselves: under memory
 * pressure, after a long time in the background, when the process that keeps the data has died.
 *
 * What died before anything was decided is repeated here, on a new connection: reads, and transactions that had not
 * asked Python yet. What failed after that is not: it may have been committed all the same, and only the engine can
 * find out, by reading (`durably_wasm/attempt.py`). Nor could it be repeated: Python decides once.
 *
 * A database that is gone, or a newer version's, is not opened again. Knows neither stores nor records.
 */
import { isLoss, isStoreError, openDatabase, refusal, storeError } from '../../shared/database.js';

/** @import { StoreError } from '../../shared/database.js' */

const PAUSES_MS = [0, 100, 200, 400, 800]; // then it is an outage, which the engine waits out

export class Connection {
  #name;
  #onEnd;
  /** @type {IDBDatabase | null} */
  #database = null;
  /** @type {Promise<IDBDatabase> | null} */
  #opening = null;
  /** @type {StoreError | null} why this will not be open again */
  #end = null;

  /**
   * @param {string} name
   * @param {IDBDatabase} database
   * @param {(reason: StoreError) => void} onEnd
   */
  constructor(name, database, onEnd) {
    this.#name = name;
    this.#onEnd = onEnd;
    this.#adopt(database);
  }

  /**
   * @param {string} name
   * @param {(reason: StoreError) => void} onEnd called when the database is gone, or a newer version's, while this is open
   * @param {(message: string) => void} [onBlocked] told whom opening waits for
   */
  static async open(name, onEnd, onBlocked) {
    return new Connection(name, await openDatabase(name, { onBlocked }), onEnd);
  }

  close() {
    this.#end ??= storeError(this.#name, 'it was closed');
    this.#drop();
  }

  /**
   * Do something with the open database, again with a new connection where this one has died.
   *
   * An operation that must not be repeated rejects with a `StoreError`, any other with IndexedDB's own error.
   * @template T
   * @param {(database: IDBDatabase) => Promise<T>} operation
   * @returns {Promise<T>}
   */
  async use(operation) {
    for (let attempt = 0; ; attempt++) {
      if (this.#end) throw this.#end;
      try {
        return await operation(this.#database ?? (await this.#reopen()));
      } catch (error) {
        if (isLoss(error) || isLoss(/** @type {Error} */ (error).cause)) this.#drop();
        const pause = PAUSES_MS[attempt];
        if (!isLoss(error) || pause === undefined) throw isStoreError(error) ? error : refusal(this.#name, error);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  #reopen() {
    this.#opening ??= openDatabase(this.#name, { create: false })
      .then((database) => this.#adopt(database))
      .catch((/** @type {StoreError} */ error) => {
        if (error.isFinal) this.#endWith(error);
        throw error.cause ?? error;
      })
      .finally(() => (this.#opening = null));
    return this.#opening;
  }

  /** @param {IDBDatabase} database */
  #adopt(database) {
    this.#database = database;
    database.onclose = () => {
      if (this.#database === database) this.#drop();
      this.use(async () => {}).catch(() => {}); // whether it is gone shows now, and not when it is needed
    };
    database.onversionchange = ({ newVersion }) => this.#endWith(replaced(this.#name, newVersion));
    return database;
  }

  #drop() {
    this.#database?.close();
    this.#database = null;
  }

  /** @param {StoreError} reason */
  #endWith(reason) {
    if (this.#end) return;
    this.#end = reason;
    this.#drop(); // after what is under way has been committed
    this.#onEnd(reason);
  }
}

/**
 * @param {string} name
 * @param {number | null} newVersion
 */
function replaced(name, newVersion) {
  const what = newVersion === null ? 'it is being deleted' : 'a newer version of this app takes it over';
  return storeError(name, `${what}; reload the page`, { isFinal: true });
}
