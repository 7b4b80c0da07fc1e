/**
 * What is wrong with a filter of runs, in the words of `RunFilter` in `durably_wasm/models.py`. Knows no storage.
 */
import { checkIdentifier, checkLabels, describe, invalid } from './identifiers.js';
import { toJson } from './json.js';

/** @import { RunFilter } from '../shared/protocol.js' */
/** @import { RunFilter as Wanted } from '../shared/reads.js' */

const FIELDS = ['status', 'jobName', 'labels', 'limit', 'offset'];
const STATUSES = ['pending', 'leased', 'completed', 'failed', 'cancelled'];

/**
 * Return a filter as `shared/reads.js` takes it; what is absent or null filters nothing.
 * @param {RunFilter | null} [given]
 * @returns {Promise<Wanted>}
 * @throws {Error} named `ValidationError`, when a field is unknown or has the wrong type
 */
export async function checkFilter(given) {
  const filter = (await toJson('filter', given)) ?? {};
  if (typeof filter !== 'object' || Array.isArray(filter)) throw invalid(`A filter must be an object, not ${describe(filter)}`);
  const unknown = Object.entries(filter).filter(([name, value]) => !FIELDS.includes(name) && value != null);
  if (unknown.length > 0) throw invalid(`Unknown filter ${unknown.map(([name]) => name).join(', ')}; there are: ${FIELDS.join(', ')}`);
  return {
    status: namesOf('status', filter.status, STATUSES),
    jobName: namesOf('jobName', filter.jobName),
    labels: filter.labels == null ? {} : checkLabels(filter.labels),
    limit: filter.limit == null ? null : checkCount('limit', filter.limit),
    offset: checkCount('offset', filter.offset ?? 0),
  };
}

/**
 * @param {string} field
 * @param {unknown} value
 * @param {string[] | null} [known]
 * @returns {string[]}
 */
function namesOf(field, value, known = null) {
  if (value == null) return [];
  if (typeof value !== 'string' && !Array.isArray(value)) throw unfit(field, 'text or a list of texts', value);
  return [value].flat().map((one) => {
    const isFit = typeof one === 'string' && (known === null || known.includes(one));
    if (!isFit) throw unfit(field, known ? `one of ${known.join(', ')}` : 'text', one);
    return checkIdentifier(field, one);
  });
}

/**
 * @param {string} field
 * @param {unknown} value
 * @returns {number}
 */
export function checkCount(field, value) {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw unfit(field, 'an integer of at least 0', value);
}

/**
 * @param {string} field
 * @param {string} expected
 * @param {unknown} value
 */
function unfit(field, expected, value) {
  return invalid(`${field} must be ${expected}, not ${JSON.stringify(value) ?? String(value)}`);
}
