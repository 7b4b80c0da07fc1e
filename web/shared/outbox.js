/**
 * The outbox: the pages' changing calls, from the click until the reply. An IndexedDB database of its own, with either
 * store, written by the pages and emptied by whoever sees a call's end. Knows entries, not what a call does.
 *
 * All read and write one object store, `calls`. A page's lanes, from which its calls are moved there, are its alone.
 */
import { EVERY_SLOT, freeSlots, lanesOf, withFreeSlot } from './slots.js';

/** @import { Call, ErrorMessage } from './protocol.js' */

/**
 * @typedef {object} Entry
 * @property {string} tab
 * @property {number} number  counts the tab's calls
 * @property {Call} call
 * @property {ErrorMessage} [rejection]  why it was not applied, when nobody was left to be told
 *
 * @typedef {object} Changing  a transaction that is committed at the end of its task
 * @property {(name: string) => IDBObjectStore} store
 * @property {Promise<void>} committed
 *
 * @typedef {object} DataLoss  what Chromium says, once, in the first database that is opened after the loss
 * @property {'none' | 'total'} [dataLoss]
 * @property {string} [dataLossMessage]
 */

const VERSION = 2; // 1 had no lanes
export const CALLS = 'calls';
const KEY = ['tab', 'number'];
const CHANGING = ['trigger', 'batchTrigger', 'retrigger', 'cancel', 'deleteRun', 'purgeRuns', 'reportCrash'];

/**
 * Does a call change anything, so that it is kept here?
 * @param {string} method
 */
export const isChanging = (method) => CHANGING.includes(method);

/** An open outbox. */
export class Outbox {
  #name;
  #database;
  /** @type {Changing | null} the transaction of this task */
  #changing = null;

  /**
   * @param {string} name
   * @param {IDBDatabase} database
   */
  constructor(name, database) {
    this.#name = name;
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
      const request = indexedDB.open(`durably:${name}:outbox`, VERSION);
      request.onupgradeneeded = (event) => {
        const lanes = EVERY_SLOT.flatMap(lanesOf);
        for (const store of event.oldVersion < 1 ? [CALLS, ...lanes] : lanes) request.result.createObjectStore(store, { keyPath: KEY });
        const { dataLoss, dataLossMessage = '' } = /** @type {IDBVersionChangeEvent & DataLoss} */ (event);
        if (dataLoss === 'total') onLoss(dataLossMessage);
      };
      request.onsuccess = () => resolve(new Outbox(name, request.result));
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

  /**
   * Have the browser look how much room there is. Chromium does before it commits what was put, unless it did so within
   * 30 s (`kBucketSpaceCacheTimeLimit` in its bucket_context.h), and drops a commit that waits for it when the page goes.
   * @returns {Promise<void>} resolves when it has looked
   */
  lookForRoom() {
    return this.#change((calls) => {
      calls.put({ tab: '', number: 0 });
      calls.delete(['', 0]);
    });
  }

  /** @returns {Promise<Entry[]>} in the order of each tab's calls; not those in lanes */
  entries() {
    return this.#read(CALLS);
  }

  /** Move to all others what pages that are gone have left in their lanes. What cannot be moved, say on a full disk, stays. */
  async rescueAll() {
    const stays = (/** @type {unknown} */ error) => console.warn(`durably: calls of a page that is gone have to wait: ${error}`);
    for (const slot of await freeSlots(this.#name)) await withFreeSlot(this.#name, slot, () => this.rescue(slot).catch(stays));
  }

  /**
   * Move to all others what is left in the lanes of a slot. To be called while no other page can have it.
   * @param {number} slot
   * @returns {Promise<void>}
   */
  async rescue(slot) {
    const lanes = lanesOf(slot);
    const left = (await Promise.all(lanes.map((lane) => this.#read(lane)))).flat();
    if (left.length === 0) return;
    const { store, committed } = this.begin([CALLS, ...lanes]);
    left.forEach((entry) => store(CALLS).put(entry));
    lanes.forEach((lane) => store(lane).clear());
    await committed;
  }

  /**
   * Begin a transaction that is committed at the end of this task: of many transactions the last ones are lost with a
   * page that goes, since each waits for the one before.
   * @param {string[]} stores
   * @param {() => void} [atEnd] called when the task ends
   * @returns {Changing}
   */
  begin(stores, atEnd = () => {}) {
    const transaction = this.#database.transaction(stores, 'readwrite', { durability: 'relaxed' });
    const { promise: committed, resolve, reject } = /** @type {PromiseWithResolvers<void>} */ (Promise.withResolvers());
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    committed.catch(() => {}); // whoever asked for the change hears of it, if anybody did
    queueMicrotask(() => {
      atEnd();
      transaction.commit();
    });
    return { store: (name) => transaction.objectStore(name), committed };
  }

  /**
   * @param {string} store
   * @returns {Promise<Entry[]>} without those that cannot be read: Chromium gives null for what is nested too deeply
   */
  async #read(store) {
    const entries = await result(this.#database.transaction(store).objectStore(store).getAll());
    return entries.filter((entry) => entry !== null);
  }

  /**
   * Change entries in the transaction of this task.
   * @param {(calls: IDBObjectStore) => void} change
   * @returns {Promise<void>}
   */
  #change(change) {
    try {
      this.#changing ??= this.begin([CALLS], () => (this.#changing = null));
      change(this.#changing.store(CALLS));
      return this.#changing.committed;
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
