/**
 * The versions that meet when a new tab finds an old one. Knows how they compare, not what follows for the engine.
 */

/** @import { Hello, Notice, State } from './protocol.js' */

/** @type {Notice} what is told to a page that is too old */
const OUTDATED = {
  name: 'NewerVersion',
  message: 'A newer version of this app is open in another tab; reload this one to go on',
};

/**
 * Whether one who says hello is older than another: by the protocol, then by the schema, then by the app's own version,
 * where both have one.
 * @param {Hello} one
 * @param {Hello} other
 */
export function isOlder(one, other) {
  if (one.protocol !== other.protocol) return one.protocol < other.protocol;
  if (one.schema !== other.schema) return one.schema < other.schema;
  return one.app !== null && other.app !== null && one.app.localeCompare(other.app, 'en', { numeric: true }) < 0;
}

/**
 * The last state of a page that has to be reloaded, in place of what it was.
 * @param {State} state
 * @returns {State}
 */
export function outdated(state) {
  return { ...state, state: 'stopped', stage: null, notice: OUTDATED, error: OUTDATED };
}
