/**
 * The named reads of a SQLite database, by the statements that Python runs too (`durably_wasm/stores/sql/reads.sql`). Gives
 * the records that `shared/reads.js` gives; knows nothing else of what they mean.
 */
import { SITE } from './files.js';

/**
 * @import { Sqlite } from './bridge/sqlite.js'
 * @import { ReadName, RunFilter } from '../shared/reads.js'
 *
 * @typedef {import('./bridge/sqlite_statement.js').Value} Value
 * @typedef {Record<string, any>} Params
 * @typedef {{ schema: number, texts: Record<string, string> }} Statements
 */

const JSON_COLUMNS = ['progress', 'labels']; // the engine's own; payloads stay text

/** @type {Record<ReadName, (params: any) => Record<string, Value>>} what the statements take */
const VALUES = {
  run: ({ id }) => ({ id }),
  runs: valuesOfFilter,
  steps: ({ runId }) => ({ run_id: runId }),
  logs: ({ runId }) => ({ run_id: runId }),
};

export class SqliteReads {
  #file;
  #statements;
  #migrated;

  /**
   * @param {Sqlite} file
   * @param {Statements} statements
   * @param {Promise<void>} migrated
   */
  constructor(file, statements, migrated) {
    this.#file = file;
    this.#statements = statements;
    this.#migrated = migrated;
  }

  /**
   * @param {Sqlite} file
   * @param {Promise<void>} migrated resolves when Python has brought the file's schema up to date
   */
  static async over(file, migrated) {
    const response = await fetch(new URL('sql/reads.sql', SITE));
    if (!response.ok) throw new Error(`Cannot read the database: ${response.url} is missing (HTTP ${response.status})`);
    return new SqliteReads(file, statementsOf(await response.text()), migrated);
  }

  /**
   * Run a named read. A file without a schema is read as an empty database, one of another schema when Python has seen
   * to it.
   * @param {ReadName} name
   * @param {object} params
   * @returns {Promise<Record<string, any>[]>} records
   */
  async read(name, params) {
    const [version] = this.#run('PRAGMA user_version', {});
    if (version?.user_version === 0) return [];
    if (version?.user_version !== this.#statements.schema) await this.#migrated;
    return this.#run(this.#statements.texts[name] ?? '', VALUES[name](params)).map(toRecord);
  }

  /**
   * @param {string} sql
   * @param {Record<string, Value>} values
   * @returns {Record<string, any>[]} rows by their columns' names
   */
  #run(sql, values) {
    const { number, names, columns } = JSON.parse(this.#file.prepare(sql));
    const given = names.map((/** @type {string} */ name) => values[name]);
    const [rows] = JSON.parse(this.#file.run(JSON.stringify([[number, given]])));
    return rows.map((/** @type {Value[]} */ row) => Object.fromEntries(row.map((value, at) => [columns[at], value])));
  }
}

/**
 * @param {string} text
 * @returns {Statements}
 */
function statementsOf(text) {
  const [header = '', ...parts] = text.split('-- name: ');
  const named = parts.map((part) => [part.slice(0, part.indexOf('\n')).trim(), part.slice(part.indexOf('\n')).trim()]);
  return { schema: Number(/^-- schema: (\d+)$/m.exec(header)?.[1]), texts: Object.fromEntries(named) };
}

/** @param {RunFilter} filter */
function valuesOfFilter({ status, jobName, labels, limit, offset }) {
  return {
    statuses: status.length > 0 ? JSON.stringify(status) : null,
    jobs: jobName.length > 0 ? JSON.stringify(jobName) : null,
    labels: JSON.stringify(Object.entries(labels).map((pair) => pair.map(asPythonWrites).join(':'))),
    limit: limit ?? -1,
    offset,
  };
}

/**
 * JSON text in ASCII, as labels are stored.
 * @param {string} text
 */
function asPythonWrites(text) {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** @param {Record<string, any>} row */
function toRecord(row) {
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => [
      column.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()),
      JSON_COLUMNS.includes(column) ? JSON.parse(value) : value,
    ]),
  );
}
