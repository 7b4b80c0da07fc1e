/**
 * The page with our engine: it opens one with the options in its address, and offers what can be measured of it. It may
 * show what is `listed` first. Without a database's name it can fill one.
 */
import { createDurably } from './durably/page/index.js';
import { openDatabase } from './durably/shared/database.js';
import { Measures } from './measures.js';

const { listed, ...options } = JSON.parse(new URLSearchParams(location.search).get('options') ?? '{}');

window.fillIndexedDb = fillIndexedDb;
window.opened = options.database ? open() : undefined;
window.opened?.catch(() => {}); // whoever awaits it hears why

async function open() {
  window.stages = {};
  window.durably = createDurably({ jobs: './jobs.py', ...options });
  window.durably.on('state', ({ stage }) => stage && (window.stages[stage] ??= performance.now()));
  window.measures = new Measures(window.durably);
  if (listed) window.shown = showRuns(listed);
  else await window.durably.init();
}

/**
 * Show the newest runs, and resolve with the time at which they are on the screen.
 * @param {number} limit
 */
async function showRuns(limit) {
  for (const { id, jobName, status } of await window.durably.getRuns({ limit })) {
    document.body.append(Object.assign(document.createElement('p'), { textContent: `${jobName} ${id}: ${status}` }));
  }
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame); // the second comes after they were drawn
  return performance.now();
}

/**
 * Write ended runs, faster than an engine could execute them. No engine may have the database open.
 * @param {string} name
 * @param {number} count
 */
async function fillIndexedDb(name, count) {
  const database = await openDatabase(name);
  for (let first = 0; first < count; first += 5000) {
    const transaction = database.transaction(['runs', 'payloads'], 'readwrite', { durability: 'relaxed' });
    for (let number = first; number < Math.min(first + 5000, count); number++) {
      const run = endedRun(number);
      transaction.objectStore('runs').put(run);
      transaction.objectStore('payloads').put({ runId: run.id, kind: 'input', text: '{"steps": 0}' });
    }
    transaction.commit();
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
  }
  database.close();
}

/** @param {number} number */
function endedRun(number) {
  const time = new Date(Date.UTC(2026, 0, 1) + number * 1000).toISOString();
  return {
    id: `01ENDED${String(number).padStart(19, '0')}`,
    jobName: 'steps',
    status: 'completed',
    idempotencyKey: null,
    concurrencyKey: null,
    currentStepIndex: 0,
    completedStepCount: 0,
    progress: null,
    error: null,
    errorType: null,
    errorTraceback: null,
    labels: {},
    leaseOwner: null,
    leaseExpiresAt: null,
    leaseGeneration: 1,
    startedAt: time,
    completedAt: time,
    createdAt: time,
    updatedAt: time,
  };
}
