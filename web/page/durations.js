/**
 * Durations that a page gives, in milliseconds, and timers that can wait so long. Knows neither runs nor calls.
 */
import { describe, invalid } from './identifiers.js';

const LONGEST_MS = 2 ** 31 - 1; // that a timer can wait; it fires at once for more

/**
 * Return a duration; `Infinity` means for ever.
 * @param {string} what begins the message
 * @param {unknown} value
 * @returns {number}
 * @throws {Error} named `ValidationError`, when it is no number of at least 0
 */
export function checkDuration(what, value) {
  if (typeof value === 'number' && value >= 0) return value;
  throw invalid(`${what} must be a number of milliseconds of at least 0, not ${describe(value)}`);
}

/**
 * Check how often to look, which is never for ever.
 * @param {string} what begins the message
 * @param {unknown} value null and undefined: as often as the engine
 * @throws {Error} named `ValidationError`, when it is no finite number above 0
 */
export function checkInterval(what, value) {
  if (value === undefined || value === null) return;
  if (typeof value === 'number' && value > 0 && value < Infinity) return;
  throw invalid(`${what} must be a finite number of milliseconds above 0, not ${describe(value)}`);
}

/**
 * Call a function after a duration, never after `Infinity`.
 * @param {number} ms
 * @param {() => void} action
 * @returns {() => void} its undo
 */
export function after(ms, action) {
  if (ms === Infinity) return () => {};
  let timer = 0;
  const wait = (/** @type {number} */ left) => {
    const now = Math.min(left, LONGEST_MS);
    timer = setTimeout(() => (left > now ? wait(left - now) : action()), now);
  };
  wait(ms);
  return () => clearTimeout(timer);
}
