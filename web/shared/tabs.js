/**
 * The channel between the tabs of one database, and the sign that a tab is alive. Knows addresses, not messages.
 */

import { explained } from './denied.js';
import { heldLocks, hold } from './locks.js';

/** @import { ToClient, ToEngine } from './protocol.js' */

/**
 * @typedef {object} Envelope
 * @property {string} from
 * @property {string} to  a tab, or `ENGINE`, or `LEADER`, or `ALL` tabs
 * @property {ToClient | ToEngine} message
 */

export const ENGINE = 'engine';
export const LEADER = 'leader'; // both the page and the worker of the tab that leads, where signs of life are asked for
export const ALL = 'all';

/**
 * The name of a channel beside a database's own, on which those who wait ask who leads for a sign of life: they do not
 * have to hear all the events for that.
 * @param {string} database
 */
export function signsOf(database) {
  return `${database}:signs`;
}

/** One end of the channel. */
export class Channel {
  #channel;
  #self;

  /**
   * @param {string} database
   * @param {string} self this end's own address
   * @param {(envelope: Envelope) => void} receive called with what comes for any of `addresses`
   * @param {string[]} addresses
   */
  constructor(database, self, receive, addresses) {
    this.#self = self;
    this.#channel = openChannel(`durably:${database}`);
    this.#channel.onmessage = ({ data }) => addresses.includes(data.to) && receive(data);
  }

  /**
   * @param {string} to
   * @param {ToClient | ToEngine} message
   */
  post(to, message) {
    this.#channel.postMessage({ from: this.#self, to, message });
  }

  close() {
    this.#channel.close();
  }
}

/** @param {string} name */
function openChannel(name) {
  try {
    return new BroadcastChannel(name);
  } catch (error) {
    throw explained('BroadcastChannel', error);
  }
}

/**
 * Show others that this page or worker is alive, by a lock.
 * @param {string} database
 * @param {string} tab
 * @returns {Promise<() => void>} ends it
 */
export async function showAlive(database, tab) {
  return /** @type {() => void} */ (await hold(nameOf(database, tab)));
}

/**
 * Resolve when somebody who showed to be alive does so no more, or when this is not of interest any more.
 * @param {string} database
 * @param {string} tab
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export async function whenGone(database, tab, signal) {
  await navigator.locks.request(nameOf(database, tab), { signal }, () => {}).catch(() => {});
}

/**
 * @param {string} database
 * @returns {Promise<(tab: string) => boolean>} tells whether a tab is alive
 */
export async function whoIsAlive(database) {
  const names = await heldLocks();
  return (tab) => names.has(nameOf(database, tab));
}

/**
 * @param {string} database
 * @param {string} tab
 */
function nameOf(database, tab) {
  return `durably:${database}:tab:${tab}`;
}
