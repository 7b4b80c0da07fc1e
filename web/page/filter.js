/**
 * What is wrong with a filter of runs, in the words of `RunFilter` in `durably_wasm/models.py`. Knows no storage.
 */
import { toError } from '../shared/rpc.js';

/** @import { RunFilter } from '../shared/protocol.js' */
/** @import { RunFilter as Wanted } from '../shared/reads.js' */

const FIELDS = ['status', 'jobName', 'labels', 'limit', 'offset'];
const STATUSES = ['pending', 'leased', 'completed', 'failed', 'cancelled'];

/**
 * Return a filter as `shared/reads.js` takes it; what is absent or null filters nothing.
 * @param {RunFilter} filter
 * @returns {Wanted}
 * @throws {Error} named `ValidationError`, when a field is unknown or has the wrong type
 */
export function checkFilter(filter) {
  const unknown = Object.entries(filter).filter(([name, value]) => !FIELDS.includes(name) && value != null);
  if (unknown.length > 0) throw invalid(`Unknown filter ${unknown.map(([name]) => name).join(', ')}; there are: ${FIELDS.join(', ')}`);
  return {
    status: namesOf('status', filter.status, STATUSES),
    jobName: namesOf('jobName', filter.jobName),
    labels: labelsOf(filter.labels),
    limit: filter.limit == null ? null : countOf('limit', filter.limit),
    offset: countOf('offset', filter.offset ?? 0),
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
    if (typeof one === 'string' && (known === null || known.includes(one))) return one;
    throw unfit(field, known ? `one of ${known.join(', ')}` : 'text', one);
  });
}

/**
 * @param {unknown} value
 * @returns {Record<string, string>}
 */
function labelsOf(value) {
  if (value == null) return {};
  const labels = typeof value === 'object' ? Object.entries(value).filter(([, label]) => label !== undefined) : [];
  if (typeof value !== 'object' || Array.isArray(value) || labels.some(([, label]) => typeof label !== 'string')) {
    throw unfit('labels', 'a mapping of text to text', value);
  }
  return Object.fromEntries(labels);
}

/**
 * @param {string} field
 * @param {unknown} value
 */
function countOf(field, value) {
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

/** @param {string} message */
function invalid(message) {
  return toError({ name: 'ValidationError', message });
}
