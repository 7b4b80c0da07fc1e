/**
 * Calls and replies by id, over any endpoint with `postMessage`. Knows neither methods nor engines.
 */

/** @import { Call, ErrorMessage, Reply } from './protocol.js' */

/** The calls that wait for their reply. */
export class Calls {
  /** @type {Map<string, { call: Call, resolve(result: unknown): void, reject(error: Error): void }>} */
  #waiting = new Map();
  #post;

  /** @param {(message: Call) => void} post */
  constructor(post) {
    this.#post = post;
  }

  /**
   * Send a call and return what its reply brings.
   * @param {string} method
   * @param {object} params
   * @returns {Promise<unknown>}
   */
  call(method, params) {
    const id = crypto.randomUUID();
    return new Promise((resolve, reject) => {
      /** @type {Call} */
      const call = { type: 'call', id, method, params };
      this.#waiting.set(id, { call, resolve, reject });
      try {
        this.#post(call);
      } catch (error) {
        this.#waiting.delete(id);
        reject(error);
      }
    });
  }

  /** Send again what waits, in order: whoever had it may be gone. */
  repeat() {
    for (const { call } of this.#waiting.values()) this.#post({ ...call, again: true });
  }

  /**
   * @param {Reply} reply
   * @returns {boolean} false when no call waits for it
   */
  settle(reply) {
    const waiting = this.#waiting.get(reply.id);
    if (!waiting) return false;
    this.#waiting.delete(reply.id);
    if (reply.error) waiting.reject(toError(reply.error));
    else waiting.resolve(reply.result);
    return true;
  }

  /**
   * Reject all that wait: nobody is left to answer.
   * @param {(call: Call) => ErrorMessage} reasonFor
   */
  rejectAll(reasonFor) {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { call, reject } of waiting) reject(toError(reasonFor(call)));
  }
}

/**
 * An error as it crosses: its name, its message and, of a `StoreError`, whether there is no room left.
 * @param {unknown} error
 * @returns {ErrorMessage}
 */
export function toErrorMessage(error) {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message } = error;
  return 'isFull' in error ? { name, message, isFull: error.isFull } : { name, message };
}

/** @param {ErrorMessage} message */
export function toError({ name, message, ...details }) {
  const error = Object.assign(new Error(message), details);
  error.name = name;
  return error;
}
