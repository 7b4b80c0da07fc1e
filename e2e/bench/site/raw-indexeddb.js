/**
 * The raw rate of IndexedDB: one readwrite transaction after another that reads a run and writes a step and the run,
 * over the engine's own object stores, straight from JavaScript.
 */
import { answer } from './answer.js';
import { openDatabase } from './durably/shared/database.js';
import { completedStep, leasedRun, RUN_ID } from './records.js';

answer(async ({ database: name, steps }) => {
  const database = await openDatabase(name);
  await commit(database, (transaction) => transaction.objectStore('runs').put(leasedRun(0)));
  const start = performance.now();
  for (let index = 0; index < steps; index++) await checkpoint(database, index);
  const seconds = (performance.now() - start) / 1000;
  await commit(database, (transaction) => transaction.objectStore('steps').clear());
  database.close();
  return steps / seconds;
});

/**
 * @param {IDBDatabase} database
 * @param {number} index
 */
function checkpoint(database, index) {
  return commit(database, (transaction) => {
    const runs = transaction.objectStore('runs');
    const request = runs.get(RUN_ID);
    request.onsuccess = () => {
      transaction.objectStore('steps').put(completedStep(index));
      runs.put({ ...request.result, currentStepIndex: index + 1, completedStepCount: index + 1 });
      transaction.commit();
    };
  });
}

/**
 * @param {IDBDatabase} database
 * @param {(transaction: IDBTransaction) => void} work
 */
function commit(database, work) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(['runs', 'steps'], 'readwrite', { durability: 'relaxed' });
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
    work(transaction);
  });
}
