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
    return records.map((record) => /** @type {Step} */ ({ ...record, output: parsed(record.output) }));
  }

  /**
   * @param {string} runId
   * @returns {Promise<Log[]>}
   */
  async logs(runId) {
    const records = await this.#read('logs', { runId: checkIdentifier("A run's id", runId) });
    return records.map((record) => /** @type {Log} */ ({ ...record, data: parsed(record.data) }));
  }
}

/** @param {Record<string, any>} record */
function toRun(record) {
  return /** @type {Run} */ ({ ...record, input: parsed(record.input), output: parsed(record.output) });
}

/** @param {string | null} text */
function parsed(text) {
  return text === null ? null : JSON.parse(text);
}
