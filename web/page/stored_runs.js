/**
 * This page's own connection to the IndexedDB database, over which it reads whatever the engine does. Knows the reads by
 * name and how a connection is lost and found, not what a record means.
 *
 * The database is the engine's: it is read as it is, never created or upgraded, and nobody's upgrade waits for this.
 */
import { isLoss, openExisting, refusal, storeError } from '../shared/database.js';
import { READS } from '../shared/reads.js';
import { SCHEMA_VERSION } from '../shared/schema.js';
import { hasFiles } from '../shared/stores.js';

/** @import { ReadName } from '../shared/reads.js' */

const PAUSES_MS = [0, 100, 200, 400, 800]; // then the browser's storage is out of order

export class StoredRuns {
  #name;
  /** @type {IDBDatabase | null} */
  #database = null;
  /** @type {Promise<IDBDatabase | null> | null} */
  #connecting = null;
  #wasThere = false;
  #news = Promise.withResolvers();
  /** @type {Promise<boolean> | null} */
  #alone = null;
  /** @type {Error | null} why nothing is read any more */
  #end = null;

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
  }

  /**
   * Run a named read. A database that is not there yet is read as an empty one, one of an older schema as soon as the
   * engine has upgraded it.
   *
   * Rejects with an error named `StoreError` when the database is a newer version's, was deleted meanwhile, or refuses.
   * @param {ReadName} name
   * @param {object} params
   * @returns {Promise<Record<string, any>[]>} records
   */
  async read(name, params) {
    for (let attempt = 0; ; attempt++) {
      const database = await this.#open();
      if (database === null) return [];
      try {
        return await READS[name](database, params);
      } catch (error) {
        const pause = PAUSES_MS[attempt];
        if (!isLoss(error) || pause === undefined) throw error instanceof DOMException ? refusal(this.#name, error) : error;
        this.#drop(database);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  /**
   * Whether SQLite has no files beside: else the runs may lie there, which only the engine can tell.
   * @returns {Promise<boolean>}
   */
  areAlone() {
    this.#alone ??= hasFiles(this.#name).then((isThere) => !isThere);
    return this.#alone;
  }

  /** Look again where the runs lie, and whether an older schema has been upgraded: the engine has told something. */
  lookAgain() {
    this.#alone = null;
    this.#news.resolve(undefined);
    this.#news = Promise.withResolvers();
  }

  /** Let go of the database until the next read. */
  rest() {
    if (this.#database) this.#drop(this.#database);
  }

  /**
   * Read nothing any more.
   * @param {Error} reason with which the reads that wait reject
   */
  close(reason) {
    this.#end = reason;
    this.rest();
    this.lookAgain();
  }

  /** @returns {Promise<IDBDatabase | null>} null when there is none yet */
  async #open() {
    for (;;) {
      if (this.#end) throw this.#end;
      if (this.#database) return this.#database;
      const news = this.#news.promise;
      this.#connecting ??= this.#connect().finally(() => (this.#connecting = null));
      const found = await this.#connecting;
      if (found === null) return null;
      if (found.version < SCHEMA_VERSION) await news;
    }
  }

  async #connect() {
    const database = await openExisting(this.#name);
    if (database === null) {
      if (this.#wasThere) throw storeError(this.#name, 'it was deleted while this page had it open', { isFinal: true });
      return null;
    }
    this.#wasThere = true;
    this.#database = database;
    database.onclose = database.onversionchange = () => this.#drop(database);
    if (database.version < SCHEMA_VERSION || this.#end) this.#drop(database);
    return database;
  }

  /** @param {IDBDatabase} database */
  #drop(database) {
    database.close(); // after the reads that are under way
    if (this.#database === database) this.#database = null;
  }
}
