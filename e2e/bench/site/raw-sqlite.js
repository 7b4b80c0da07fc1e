/**
 * The raw rate of wa-sqlite: the engine's own statements for a step, prepared once, with exclusive locking and WAL on
 * OPFS, straight from JavaScript.
 */
import { answer } from './answer.js';
import { completedStep, leasedRun, RUN_ID } from './records.js';
import createModule from './wa-sqlite/dist/wa-sqlite.mjs';
import { AccessHandlePoolVFS } from './wa-sqlite/src/examples/AccessHandlePoolVFS.js';
import * as SQLite from './wa-sqlite/src/sqlite-api.js';

const PRAGMAS = 'PRAGMA locking_mode = exclusive; PRAGMA journal_mode = wal; PRAGMA synchronous = normal;';

answer(async ({ database, steps }) => {
  const module = await createModule();
  const sqlite = SQLite.Factory(module);
  const vfs = await AccessHandlePoolVFS.create(`/${database}`, module);
  sqlite.vfs_register(/** @type {any} */ (vfs), true);
  const db = await sqlite.open_v2(database);
  await sqlite.exec(db, PRAGMAS);
  await sqlite.exec(db, `DROP TABLE IF EXISTS meta; DROP TABLE IF EXISTS runs; DROP TABLE IF EXISTS steps;
    DROP TABLE IF EXISTS payloads; DROP TABLE IF EXISTS logs; ${await text('./durably/sql/schema_1.sql')}`);
  const checkpoint = await checkpointer(module, sqlite, db);
  const start = performance.now();
  for (let index = 0; index < steps; index++) checkpoint(index);
  const seconds = (performance.now() - start) / 1000;
  return steps / seconds; // and with this worker's end all is closed
});

/** Prepare everything, and return the function that commits a step. */
async function checkpointer(module, sqlite, db) {
  const writes = statements(await text('./durably/sql/writes.sql'));
  const run = leasedRun(0);
  const columns = Object.keys(run).map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  const values = { ...run, labels: '{}' };
  const insert = `INSERT INTO runs (${columns}) VALUES (${Object.keys(run).map((name) => `:${name}`)})`;
  const execute = await executor(module, sqlite, db, [insert, 'BEGIN IMMEDIATE', 'COMMIT', writes.checkpoint_step, writes.checkpoint_run]);
  execute(insert, named(values));
  return (/** @type {number} */ index) => {
    const step = completedStep(index);
    execute('BEGIN IMMEDIATE');
    execute(writes.checkpoint_step, {
      ':id': step.id,
      ':run_id': RUN_ID,
      ':name': step.name,
      ':index': index,
      ':status': step.status,
      ':output': step.output,
      ':error': null,
      ':started_at': step.startedAt,
      ':now': step.completedAt,
      ':generation': 1,
    });
    execute(writes.checkpoint_run, {
      ':run_id': RUN_ID,
      ':index': index,
      ':status': step.status,
      ':expires_at': step.completedAt,
      ':now': step.completedAt,
    });
    execute('COMMIT');
  };
}

/** Prepare the statements once, and return the function that steps through one of them without a promise. */
async function executor(module, sqlite, db, texts) {
  const stepOnce = module.cwrap('sqlite3_step', 'number', ['number']);
  const reset = module.cwrap('sqlite3_reset', 'number', ['number']);
  const prepared = new Map();
  for (const sql of texts) {
    for await (const statement of sqlite.statements(db, sql, { unscoped: true })) prepared.set(sql, statement);
  }
  return (sql, values = null) => {
    const statement = prepared.get(sql);
    if (values) sqlite.bind_collection(statement, values);
    let code = SQLite.SQLITE_ROW;
    while (code === SQLite.SQLITE_ROW) code = stepOnce(statement);
    reset(statement);
    if (code !== SQLite.SQLITE_DONE) throw new Error(`SQLite refused with ${code}: ${sql}`);
  };
}

/** Read a file of statements, each after a line with its name. */
function statements(sql) {
  const parts = sql.split(/^-- name: (\w+)$/m).slice(1);
  return Object.fromEntries(parts.flatMap((part, index) => (index % 2 ? [[parts[index - 1], part]] : [])));
}

function named(values) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`:${name}`, value]));
}

async function text(path) {
  return (await fetch(new URL(path, import.meta.url))).text();
}
