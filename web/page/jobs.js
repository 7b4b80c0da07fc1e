/**
 * `client.jobs`: a handle for every key, also before Python tells which there are. Knows keys, not jobs.
 */

/** @import { JobHandle } from './handle.js' */

/**
 * Return an object that answers to any name, `constructor` too, but for `then`: it is no promise.
 *
 * Its own keys are those that were registered and, once the engine is ready, those of Python's jobs.
 * @param {(key: string) => JobHandle} handleOf makes the handle of a key that was not registered
 * @param {() => string[]} keys of Python's jobs, as far as they are known
 * @returns {Record<string, JobHandle>}
 */
export function jobsBy(handleOf, keys) {
  /** @type {Record<string, JobHandle>} */
  const registered = Object.create(null);
  /** @type {Map<string, JobHandle>} the others that were asked for */
  const others = new Map();
  const find = (/** @type {string} */ key) => {
    const handle = registered[key] ?? others.get(key) ?? handleOf(key);
    if (!(key in registered)) others.set(key, handle);
    return handle;
  };
  const names = () => [...new Set([...Object.keys(registered), ...keys()])];
  return new Proxy(registered, {
    get: (_, key) => (isName(key) ? find(key) : key === Symbol.toStringTag ? 'Jobs' : undefined),
    has: (_, key) => isName(key),
    ownKeys: names,
    getOwnPropertyDescriptor: (_, key) =>
      isName(key) && names().includes(key) ? { value: find(key), writable: true, enumerable: true, configurable: true } : undefined,
  });
}

/**
 * @param {string | symbol} key
 * @returns {key is string}
 */
function isName(key) {
  return typeof key === 'string' && key !== 'then';
}
