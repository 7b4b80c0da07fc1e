/**
 * The outbox: the pages' changing calls, from the click until the reply. An IndexedDB database of its own, with either
 * store, written by the pages and emptied by whoever sees a call's end. Knows entries, not what a call does.
 */

/** @import { Call, ErrorMessage } from './protocol.js' */

/**
 * @typedef {object} Entry
 * @property {string} tab
 * @property {number} number  counts the tab's calls
 * @property {Call} call
 * @property {ErrorMessage} [rejection]  why it was not applied, when nobody was left to be told
 *
 * @typedef {object} DataLoss  what Chromium says, once, in the first database that is opened after the loss
 * @property {'none' | 'total'} [dataLoss]
 * @property {string} [dataLossMessage]
 */

const CALLS = 'calls';
const CHANGING = ['trigger', 'batchTrigger', 'retrigger', 'cancel', 'deleteRun', 'purgeRuns', 'reportCrash'];

/**
 * Does a call change anything, so that it is kept here?
 * @param {string} method
 */
export const isChanging = (method) => CHANGING.includes(method);

/** An open outbox. */
export class Outbox {
  #database;
  /** @type {{ calls: IDBObjectStore, committed: Promise<void> } | null} the transaction of this task */
  #changing = null;

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
    database.onversionchange = () => database.close();
  }

  /**
   * @param {string} name the database whose outbox it is
   * @param {(reason: string) => void} [onLoss] called when the browser has deleted all that this site had in IndexedDB
   * @returns {Promise<Outbox>}
   */
  static open(name, onLoss = () => {}) {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open(`durably:${name}:outbox`, 1);
      request.onupgradeneeded = (event) => {
        request.result.createObjectStore(CALLS, { keyPath: ['tab', 'number'] });
        const { dataLoss, dataLossMessage = '' } = /** @type {IDBVersionChangeEvent & DataLoss} */ (event);
        if (dataLoss === 'total') onLoss(dataLossMessage);
      };
      request.onsuccess = () => resolve(new Outbox(request.result));
      request.onerror = () => reject(request.error);
    });
  }

  /**
   * Put an entry, or another in its place. All is issued in the caller's task: a page that is gone in the next one
   * loses nothing.
   * @param {Entry} entry
   * @returns {Promise<void>} resolves when it is committed
   */
  put(entry) {
    return this.#change((calls) => calls.put(entry));
  }

  /**
   * Remove calls' entries, all in one transaction; harmless where there is none.
   * @param {Pick<Entry, 'tab' | 'number'>[]} entries
   * @returns {Promise<void>}
   */
  remove(entries) {
    return this.#change((calls) => entries.forEach(({ tab, number }) => calls.delete([tab, number])));
  }

  /** @returns {Promise<Entry[]>} in the order of each tab's calls */
  entries() {
    return new Promise((resolve, reject) => {
      const request = this.#database.transaction(CALLS).objectStore(CALLS).getAll();
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  close() {
    this.#database.close();
  }

  /**
   * Change entries in the transaction of this task, which is committed at its end: of many transactions the last ones
   * are lost with a page that goes, since each waits for the one before.
   * @param {(calls: IDBObjectStore) => void} change
   * @returns {Promise<void>}
   */
  #change(change) {
    try {
      this.#changing ??= this.#begin();
      change(this.#changing.calls);
      return this.#changing.committed;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #begin() {
    const transaction = this.#database.transaction(CALLS, 'readwrite', { durability: 'relaxed' });
    const { promise: committed, resolve, reject } = /** @type {PromiseWithResolvers<void>} */ (Promise.withResolvers());
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    committed.catch(() => {}); // whoever asked for the change hears of it, if anybody did
    queueMicrotask(() => {
      this.#changing = null;
      if (transaction.error === null) transaction.commit();
    });
    return { calls: transaction.objectStore(CALLS), committed };
  }
}
