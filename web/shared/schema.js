/**
 * The IndexedDB schema, as data: which object stores and indexes there are.
 *
 * The worker's bridge and the page's reader open the database with it; `durably_wasm/stores/transactions.py` names its
 * stores and indexes. Knows no row's meaning. A run's row, rewritten by every step, is small: its input and output are
 * records of their own in `payloads`, and nothing that changes with each step is in an index.
 */

/** @typedef {{ keyPath: string | string[], indexes: Readonly<Record<string, Index>> }} ObjectStore */
/** @typedef {{ keyPath: string[], unique?: boolean }} Index */

export const SCHEMA_VERSION = 1;

/** @type {Readonly<Record<string, ObjectStore>>} */
export const OBJECT_STORES = {
  meta: { keyPath: 'key', indexes: {} },
  runs: {
    keyPath: 'id',
    indexes: {
      byIdempotencyKey: { keyPath: ['jobName', 'idempotencyKey'], unique: true },
      byKey: { keyPath: ['status', 'jobName', 'concurrencyKey'] },
      byStatusAndJob: { keyPath: ['status', 'jobName', 'createdAt', 'id'] },
      byStatus: { keyPath: ['status', 'createdAt', 'id'] },
      byJob: { keyPath: ['jobName', 'createdAt', 'id'] },
      byAge: { keyPath: ['createdAt', 'id'] },
      byEnd: { keyPath: ['completedAt', 'id'] },
    },
  },
  payloads: { keyPath: ['runId', 'kind'], indexes: {} },
  steps: { keyPath: ['runId', 'name'], indexes: {} },
  logs: { keyPath: ['runId', 'id'], indexes: {} },
  crashes: { keyPath: 'runId', indexes: {} },
  calls: { keyPath: 'id', indexes: {} },
};

/**
 * Bring a database from its old version to the present one. To be called in `upgradeneeded`.
 * @param {IDBDatabase} database
 * @param {number} oldVersion 0 for a new database
 */
export function upgrade(database, oldVersion) {
  if (oldVersion < 1) {
    for (const [name, { keyPath, indexes }] of Object.entries(OBJECT_STORES)) {
      const store = database.createObjectStore(name, { keyPath });
      for (const [index, { keyPath, unique }] of Object.entries(indexes)) {
        store.createIndex(index, keyPath, { unique: unique ?? false });
      }
    }
  }
}
