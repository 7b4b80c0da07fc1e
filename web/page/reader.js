/**
 * What the page reads, wherever it lies: records in, rows out. Knows records and filters, neither storage nor engines.
 *
 * Payloads are stored as the text that Python wrote; nowhere but here is it parsed.
 */
import { checkFilter } from './filter.js';
import { checkIdentifier } from './identifiers.js';

/**
 * @import { RunFilter } from '../shared/protocol.js'
 * @import { ReadName } from '../shared/reads.js'
 * @import { Log, Run, Step } from './rows.js'
 */

/** @typedef {(name: ReadName, params: object) => Promise<Record<string, any>[]>} Read  one of `shared/reads.js` */

export class Reader {
  #read;

  /** @param {Read} read */
  constructor(read) {
    this.#read = read;
  }

  /**
   * @param {string} id
   * @returns {Promise<Run | null>}
   */
  async run(id) {
    const [record] = await this.#read('run', { id: checkIdentifier("A run's id", id) });
    return record ? toRun(record) : null;
  }

  /**
   * @param {RunFilter | null} [filter]
   * @returns {Promise<Run[]>}
   */
  async runs(filter) {
    return (await this.#read('runs', await checkFilter(filter))).map(toRun);
  }

  /**
   * @param {string} runId
   * @returns {Promise<Step[]>}
   */
  async steps(runId) {
    const records = await this.#read('steps', { runId: checkIdentifier("A run's id", runId) });
    return records.map((record) => /** @type {Step} */ (decoded(record, 'output')));
  }

  /**
   * @param {string} runId
   * @returns {Promise<Log[]>}
   */
  async logs(runId) {
    const records = await this.#read('logs', { runId: checkIdentifier("A run's id", runId) });
    return records.map((record) => /** @type {Log} */ (decoded(record, 'data')));
  }
}

/** @param {Record<string, any>} record */
function toRun(record) {
  return /** @type {Run} */ (decoded(record, 'input', 'output'));
}

/**
 * Return a row with the values of its payloads. Where one is no JSON, all stay the text that is stored, and `decodeError`
 * says why: one row that cannot be read hides no other.
 * @param {Record<string, any>} record
 * @param {...string} payloads
 */
function decoded(record, ...payloads) {
  try {
    const values = payloads.map((name) => [name, record[name] === null ? null : JSON.parse(record[name])]);
    return { ...record, ...Object.fromEntries(values) };
  } catch (error) {
    return { ...record, decodeError: `What is stored of it is no JSON: ${error}` };
  }
}
