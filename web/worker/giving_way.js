/**
 * How an engine gives way to another: to that of a newer version of the app, or to one that has taken its lock. Knows
 * when, and what is told of it, not what an engine has to end.
 */
import { helloOf } from '../shared/protocol.js';
import { isOlder, outdated } from '../shared/versions.js';

/** @import { ErrorMessage, Hello, State } from '../shared/protocol.js' */

/**
 * @typedef {object} Leader
 * @property {() => State} state
 * @property {(state: State) => void} tell
 * @property {() => Promise<void>} handOver  ends the engine after the steps that are running
 */

export class GivingWay {
  /** @type {Hello} what the own page says */
  hello = helloOf({ app: null, store: 'indexeddb' });
  #leader;
  #isSteppingDown = false;

  /** @param {Leader} leader */
  constructor(leader) {
    this.#leader = leader;
  }

  /**
   * Answer another tab that says hello: of two versions of the app, the newer goes on.
   * @param {Hello} hello
   * @returns {State | null} null when it has ended, and the next engine will answer
   */
  meet(hello) {
    if (isOlder(this.hello, hello)) this.#stepDown().catch((error) => console.warn(`durably: the engine did not end well: ${error}`));
    const state = this.#leader.state();
    if (state.state === 'stopped') return null;
    return hello.protocol < this.hello.protocol ? outdated(state) : state;
  }

  /**
   * End at once, and answer no call any more: another tab took the lock, and its engine will answer.
   * @returns {Promise<never>}
   */
  endDeposed() {
    this.#leader.tell({ ...this.#leader.state(), state: 'stopped', stage: null });
    close();
    return new Promise(() => {});
  }

  /** End at once, and let the page put another worker in the place of this one; its own jobs go on from their checkpoints. */
  endReplaced() {
    if (this.#leader.state().state === 'leader') void this.endDeposed();
  }

  /** Let the steps that are running end, and leave their runs to the newer version; the page ends this worker then. */
  async #stepDown() {
    if (this.#isSteppingDown) return;
    this.#isSteppingDown = true;
    try {
      await this.#leader.handOver();
    } finally {
      this.#leader.tell(outdated(this.#leader.state()));
    }
  }
}

/**
 * Whether a call was refused because another engine leads since.
 * @param {ErrorMessage | undefined} error
 */
export function isOver(error) {
  return error?.name === 'EpochOver';
}
