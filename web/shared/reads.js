/**
 * What is read of the IndexedDB database, each read by a name: the engine's bridge and the page ask the same.
 *
 * Results are records as stored, runs with the text of their `input` and `output`. A page of runs costs what its
 * length costs, however many there are: every filter but the labels has an index in the order of the list.
 */

/**
 * @typedef {Record<string, unknown> & { id: string, jobName: string, createdAt: string }} RunRecord
 * @typedef {{ runId: string, kind: 'input' | 'output', text: string }} PayloadRecord
 * @typedef {object} RunFilter
 * @property {string[]} status  empty: any
 * @property {string[]} jobName  empty: any
 * @property {Record<string, string>} labels  all must be there
 * @property {number | null} limit
 * @property {number} offset
 */

/** @typedef {'run' | 'runs' | 'steps' | 'logs'} ReadName */

/** @type {Readonly<Record<ReadName, (database: IDBDatabase, params: any) => Promise<Record<string, any>[]>>>} */
export const READS = { run: readRun, runs: readRuns, steps: readSteps, logs: readLogs };

/**
 * @param {IDBDatabase} database
 * @param {{ id: string }} params
 */
async function readRun(database, { id }) {
  const transaction = database.transaction(['runs', 'payloads']);
  const run = await result(transaction.objectStore('runs').get(id));
  return run === undefined ? [] : [await withPayloads(transaction, run)];
}

/**
 * @param {IDBDatabase} database
 * @param {RunFilter} filter
 */
async function readRuns(database, filter) {
  const transaction = database.transaction(['runs', 'payloads']);
  const runs = await newestRuns(transaction.objectStore('runs'), filter);
  return Promise.all(runs.map((run) => withPayloads(transaction, run)));
}

/**
 * @param {IDBDatabase} database
 * @param {{ runId: string }} params
 */
async function readSteps(database, { runId }) {
  const steps = await result(database.transaction('steps').objectStore('steps').getAll(allOf([runId])));
  return steps.sort((a, b) => a.index - b.index);
}

/**
 * @param {IDBDatabase} database
 * @param {{ runId: string }} params
 */
function readLogs(database, { runId }) {
  return result(database.transaction('logs').objectStore('logs').getAll(allOf([runId])));
}

/**
 * Merge one descending cursor for each combination of wanted values.
 * @param {IDBObjectStore} store
 * @param {RunFilter} filter
 */
async function newestRuns(store, { status, jobName, labels, limit, offset }) {
  const name = ['byAge', 'byJob', 'byStatus', 'byStatusAndJob'][(status.length ? 2 : 0) + (jobName.length ? 1 : 0)];
  const prefixes = combinations([status, jobName].filter((values) => values.length > 0));
  const wanted = Object.entries(labels);
  const cursors = await Promise.all(prefixes.map((prefix) => Descending.open(store.index(/** @type {string} */ (name)), prefix)));
  /** @type {RunRecord[]} */
  const found = [];
  const end = offset + (limit ?? Infinity);
  let matched = 0;
  while (matched < end) {
    const newest = cursors.filter((cursor) => cursor.run).sort(byAgeDescending)[0];
    if (!newest?.run) break;
    const { run } = newest;
    const labelled = /** @type {Record<string, string>} */ (run.labels);
    if (wanted.every(([key, value]) => labelled[key] === value) && ++matched > offset) found.push(run);
    await newest.advance();
  }
  return found;
}

/** A cursor over the runs of one index range, from the newest to the oldest. */
class Descending {
  /** @type {RunRecord | null} */
  run = null;
  /** @type {IDBRequest<IDBCursorWithValue | null>} */
  #request;

  /** @param {IDBRequest<IDBCursorWithValue | null>} request */
  constructor(request) {
    this.#request = request;
  }

  /**
   * @param {IDBIndex} index
   * @param {string[]} prefix
   */
  static async open(index, prefix) {
    const cursor = new Descending(index.openCursor(prefix.length > 0 ? allOf(prefix) : null, 'prev'));
    await cursor.#settle();
    return cursor;
  }

  /** Go on to the next older run; `run` is null after the last. */
  async advance() {
    this.#request.result?.continue();
    await this.#settle();
  }

  async #settle() {
    const cursor = await result(this.#request);
    this.run = cursor?.value ?? null;
  }
}

/**
 * @param {Descending} a
 * @param {Descending} b
 */
function byAgeDescending({ run: a }, { run: b }) {
  if (!a || !b) return 0;
  return a.createdAt < b.createdAt || (a.createdAt === b.createdAt && a.id < b.id) ? 1 : -1;
}

/**
 * @param {IDBTransaction} transaction
 * @param {RunRecord} run
 */
async function withPayloads(transaction, run) {
  /** @type {PayloadRecord[]} */
  const payloads = await result(transaction.objectStore('payloads').getAll(allOf([run.id])));
  const text = Object.fromEntries(payloads.map((payload) => [payload.kind, payload.text]));
  return { ...run, input: text.input ?? null, output: text.output ?? null };
}

/**
 * All keys that begin with a prefix: an array sorts after every text.
 * @param {string[]} prefix
 */
function allOf(prefix) {
  return IDBKeyRange.bound(prefix, [...prefix, []]);
}

/**
 * @param {string[][]} lists
 * @returns {string[][]} each choice of one value a list
 */
function combinations(lists) {
  return lists.reduce(
    (prefixes, values) => prefixes.flatMap((prefix) => [...new Set(values)].map((value) => [...prefix, value])),
    /** @type {string[][]} */ ([[]]),
  );
}

/**
 * Promises of IndexedDB requests resolve inside the request's own callback, so the transaction is still active in
 * what follows an `await` of one. Not so where promise jobs are held back: see `isLoss` in `database.js`.
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
