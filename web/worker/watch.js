/**
 * Whether the tab that leads is alive: its page and its worker are asked, and either answers. Knows the questions, not
 * what follows from silence.
 */
import { Channel, LEADER, showAlive, signsOf } from '../shared/tabs.js';

/** @import { Hello } from '../shared/protocol.js' */

export const ASKS = 3; // in the length of a lease

export class Watch {
  #channel;
  #hello;
  #pauseMs;
  #leave;
  #heard = false;

  /**
   * @param {string} database
   * @param {string} self this worker's address
   * @param {Hello} hello
   * @param {number} leaseMs
   * @param {() => void} leave
   */
  constructor(database, self, hello, leaseMs, leave) {
    this.#channel = new Channel(signsOf(database), self, () => (this.#heard = true), [self]);
    this.#hello = hello;
    this.#pauseMs = leaseMs / ASKS;
    this.#leave = leave;
  }

  /**
   * Begin to watch; to who leads, this worker is one that waits from then on.
   * @param {string} database
   * @param {Hello} hello
   * @param {number} leaseMs
   */
  static async begin(database, hello, leaseMs) {
    const self = crypto.randomUUID();
    return new Watch(database, self, hello, leaseMs, await showAlive(database, self));
  }

  /**
   * Ask, and say whether there was an answer when the next question is due.
   * @returns {Promise<boolean>}
   */
  async ask() {
    this.#heard = false;
    this.#channel.post(LEADER, this.#hello);
    await new Promise((resolve) => setTimeout(resolve, this.#pauseMs));
    return this.#heard;
  }

  end() {
    this.#channel.close();
    this.#leave();
  }
}
