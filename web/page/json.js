/**
 * What a page may give to the engine: what JSON can say without changing it. The one rule, for inputs and for options.
 *
 * Plain objects and arrays, text that UTF-8 can write, finite numbers, booleans and null pass as they are. A valid `Date`
 * becomes its ISO text, an object with `toJSON` what that returns, an instance of the page's own class its properties, if it
 * shows any, and a `File`, a `Blob`, an `ArrayBuffer` or a typed array base64 text, which a schema's `bytes` reads. A property
 * that is undefined is absent. All else is refused, with its path.
 */
import { bytesOf, toBase64 } from './bytes.js';
import { describe, invalid } from './identifiers.js';

/** @typedef {(json: unknown) => void} Keep  takes what a value has become; for a file once more, when it has been read */

const DEEPEST = 1000; // levels; a worker of Chromium reads null for a value that is nested some 2,500 deep
const WORD = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

/**
 * Read a value as JSON can say it, in the task of this call; its files are read after that.
 * @param {string} what the value's name, with which paths begin
 * @param {unknown} value
 * @returns {{ json: any, files: Promise<void>[] }} `json` is whole when `files` have settled; undefined where the value is
 * @throws {Error} named `ValidationError`, with the path of what JSON cannot say
 */
export function readJson(what, value) {
  const reading = new Reading();
  const result = { json: value, files: reading.files };
  if (value !== undefined) reading.read(value, what, '', (read) => (result.json = read));
  return result;
}

/**
 * Return a value as JSON can say it, when its files have been read too.
 * @param {string} what
 * @param {unknown} value
 * @returns {Promise<any>}
 */
export async function toJson(what, value) {
  const result = readJson(what, value);
  await Promise.all(result.files);
  return result.json;
}

/** One value that is being read. */
class Reading {
  /** @type {Promise<void>[]} */
  files = [];
  /** @type {Set<object>} the objects around the place that is being read */
  #around = new Set();

  /**
   * @param {unknown} value
   * @param {string} path
   * @param {string} key  the last part of the path, as `toJSON` gets it
   * @param {Keep} keep
   */
  read(value, path, key, keep) {
    if (value === null || typeof value === 'boolean') return keep(value);
    if (typeof value === 'string') return keep(textAt(path, value));
    if (typeof value === 'number' && Number.isFinite(value)) return keep(value);
    if (typeof value !== 'object') throw refusal(path, value);
    if (this.#around.has(value)) throw invalid(`${path} contains itself, which JSON cannot say`);
    if (this.#around.size >= DEEPEST) throw invalid(`${path.slice(0, 40)}… is nested more than ${DEEPEST} levels deep`);
    this.#around.add(value);
    attempt(path, () => this.#readObject(value, path, key, keep));
    this.#around.delete(value);
  }

  /** @type {(value: object, path: string, key: string, keep: Keep) => void} */
  #readObject(value, path, key, keep) {
    if (value instanceof Blob) return this.#readFile(value, path, keep);
    const bytes = bytesOf(value);
    if (bytes) return keep(toBase64(bytes));
    if (isInvalidDate(value)) throw invalid(`${path} is an invalid Date, which JSON cannot say`);
    if ('toJSON' in value && typeof value.toJSON === 'function') return this.#readResult(value, value.toJSON(key), path, key, keep);
    if (Array.isArray(value)) return this.#readArray(value, path, keep);
    if (isShown(value)) return this.#readPlain(value, path, keep);
    throw refusal(path, value);
  }

  /**
   * @param {Blob} file
   * @param {string} path
   * @param {Keep} keep
   */
  #readFile(file, path, keep) {
    keep(null); // so that its key has its place among the others
    const read = file.arrayBuffer().then((buffer) => keep(toBase64(new Uint8Array(buffer))));
    const readable = read.catch((error) => Promise.reject(unreadable(path, error)));
    readable.catch(() => {}); // the rest of the value may be refused first
    this.files.push(readable);
  }

  /** @type {(value: object, result: unknown, path: string, key: string, keep: Keep) => void} */
  #readResult(value, result, path, key, keep) {
    if (result === undefined || result === value) throw invalid(`${path} is ${describe(value)}, whose toJSON returns no JSON`);
    this.read(result, path, key, keep);
  }

  /** @type {(list: unknown[], path: string, keep: Keep) => void} */
  #readArray(list, path, keep) {
    /** @type {unknown[]} */
    const json = [];
    for (let index = 0; index < list.length; index++) {
      if (!(index in list)) throw invalid(`${path}[${index}] is empty, which JSON cannot say`);
      this.read(list[index], `${path}[${index}]`, String(index), (item) => (json[index] = item));
    }
    const more = Object.keys(list)[list.length];
    if (more !== undefined) throw invalid(`${pathOf(path, more)} is a property of an array, which JSON cannot say`);
    keep(json);
  }

  /** @type {(object: object, path: string, keep: Keep) => void} */
  #readPlain(object, path, keep) {
    const symbol = Object.getOwnPropertySymbols(object).find((key) => Object.prototype.propertyIsEnumerable.call(object, key));
    if (symbol !== undefined) throw invalid(`${path} has the key ${String(symbol)}, which JSON cannot say`);
    /** @type {Record<string, unknown>} */
    const json = Object.create(null); // where `__proto__` is a key like any other
    for (const key of Object.keys(object)) {
      const at = pathOf(path, textAt(`${path}'s key`, key));
      const value = attempt(at, () => /** @type {Record<string, unknown>} */ (object)[key]);
      if (value !== undefined) this.read(value, at, key, (read) => (json[key] = read));
    }
    keep(json);
  }
}

/**
 * @param {string} path
 * @param {string} text
 */
function textAt(path, text) {
  if (text.isWellFormed()) return text;
  throw invalid(`${path} is ${describe(text)}, which has half a surrogate pair, and UTF-8 cannot write that`);
}

/** @param {object} value */
function isInvalidDate(value) {
  return Object.prototype.toString.call(value) === '[object Date]' && Number.isNaN(Number(value));
}

/**
 * Whether an object's properties tell what it is: it has no class, in this page or in another frame, or one of the page's own
 * and properties to show. Private fields cannot be read.
 * @param {object} value
 */
function isShown(value) {
  if (Object.prototype.toString.call(value) !== '[object Object]') return false; // a `Map`, `Math`, a module, arguments
  const prototype = Object.getPrototypeOf(value);
  const isPlain = prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf'));
  return isPlain || Object.keys(value).length > 0;
}

/**
 * @template T
 * @param {string} path
 * @param {() => T} read
 * @returns {T}
 */
function attempt(path, read) {
  try {
    return read();
  } catch (error) {
    throw error instanceof Error && error.name === 'ValidationError' ? error : unreadable(path, error);
  }
}

/**
 * @param {string} path
 * @param {unknown} error
 */
function unreadable(path, error) {
  return invalid(`${path} cannot be read: ${error instanceof Error ? error.message : describe(error)}`);
}

/**
 * @param {string} path
 * @param {unknown} value
 */
function refusal(path, value) {
  return invalid(`${path} is ${describe(value)}, which JSON cannot say`);
}

/**
 * @param {string} path
 * @param {string} key
 */
function pathOf(path, key) {
  return WORD.test(key) ? `${path}.${key}` : `${path}[${describe(key)}]`;
}
