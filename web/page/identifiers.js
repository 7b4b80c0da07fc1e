/**
 * What may name a job or a database, or be a run's id, a key or a label: the same rule as in `durably_wasm/identifiers.py`.
 */
import { toError } from '../shared/rpc.js';

const LONGEST = 1000; // in characters, which are code points

/**
 * Return an identifier.
 * @param {string} what begins the message, such as `createDurably: database`
 * @param {unknown} value
 * @returns {string}
 * @throws {Error} named `ValidationError`, when it is not text, or text that cannot be an identifier
 */
export function checkIdentifier(what, value) {
  if (value === '' || typeof value !== 'string') throw invalid(`${what} must be text and not empty, not ${describe(value)}`);
  return checkText(what, value);
}

/**
 * Return the text of a label, which may be empty; otherwise as `checkIdentifier`.
 * @param {string} what
 * @param {unknown} value
 * @returns {string}
 */
function checkText(what, value) {
  if (typeof value !== 'string') throw invalid(`${what} must be text, not ${describe(value)}`);
  const length = value.length > LONGEST ? [...value].length : value.length;
  if (length > LONGEST) throw invalid(`${what} must have at most ${LONGEST} characters, not ${length}`);
  if (value.includes('\0')) throw invalid(`${what} must not contain NUL: ${describe(value)}`);
  if (!value.isWellFormed()) throw invalid(`${what} must be text that UTF-8 can write: ${describe(value)} has half a surrogate pair`);
  return value;
}

/**
 * Return labels, which are text by text.
 * @param {unknown} value JSON, or properties that are undefined and count as absent
 * @returns {Record<string, string>}
 * @throws {Error} named `ValidationError`, when it is no such object, or a key or a label is no such text
 */
export function checkLabels(value) {
  const labels = typeof value === 'object' && value !== null ? Object.entries(value).filter(([, label]) => label !== undefined) : [];
  if (typeof value !== 'object' || value === null || Array.isArray(value) || labels.some(([, label]) => typeof label !== 'string')) {
    throw invalid(`labels must be a mapping of text to text, not ${JSON.stringify(value)}`);
  }
  for (const [key, label] of labels) {
    checkIdentifier("A label's key", key);
    checkText(`The value of label ${describe(key)}`, label);
  }
  return Object.fromEntries(labels);
}

/**
 * Say what a value is, in a few words, whatever the value does when it is asked.
 * @param {unknown} value
 * @returns {string}
 */
export function describe(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint') return `the BigInt ${value}`;
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    return `of type ${String(Object.getPrototypeOf(value)?.constructor?.name || 'Object')}`;
  } catch {
    return 'an object that cannot be read';
  }
}

/** @param {string} message */
export function invalid(message) {
  return toError({ name: 'ValidationError', message });
}
