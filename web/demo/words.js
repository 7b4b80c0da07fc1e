/** How the page says numbers, times and statuses. */

/** @import { Engine, Run, Status } from './types.js' */

const numbers = new Intl.NumberFormat('en');
const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short' });

/** jobs.py: the first step reads the file, each further one imports a hundred rows. */
export const ROWS_PER_BATCH = 100;

/** @type {Record<Status, string>} */
const STATUS = {
  pending: 'Waiting',
  leased: 'Running',
  completed: 'Complete',
  failed: 'Failed',
  cancelled: 'Cancelled',
};

/** @param {number} value */
export function count(value) {
  return numbers.format(value);
}

/**
 * Say how many, with the noun in the right number.
 *
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** @param {string} iso */
export function timeOfDay(iso) {
  return clock.format(new Date(iso));
}

/**
 * The time of day, with the day before it unless it is today.
 *
 * @param {string} iso
 */
export function moment(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  return today ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
}

/**
 * @param {string} from
 * @param {string} to
 */
export function duration(from, to) {
  const ms = Math.max(0, Date.parse(to) - Date.parse(from));
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/**
 * Whether the run's tab went away and no engine has taken it up again yet.
 *
 * @param {Run} run
 * @param {Engine} engine
 */
export function isInterrupted(run, engine) {
  return run.status === 'leased' && engine.state !== 'leader' && engine.state !== 'follower';
}

/**
 * @param {Run} run
 * @param {Engine} engine
 */
export function statusWord(run, engine) {
  return isInterrupted(run, engine) ? 'Interrupted' : STATUS[run.status];
}

/** @param {Run} run */
export function hasEnded(run) {
  return run.status !== 'pending' && run.status !== 'leased';
}
