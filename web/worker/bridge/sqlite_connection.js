/**
 * A connection to SQLite, by pointers into wa-sqlite's memory.
 *
 * All calls are synchronous. What crosses to and from Python is JSON text, and a statement is prepared once and called by
 * its number. Knows neither where a database lies nor what it holds.
 */
import * as Code from '../../wa-sqlite/src/sqlite-constants.js';
import { Statement } from './sqlite_statement.js';
import { Texts } from './texts.js';

/** @import { SqliteModule } from '../../wa-sqlite/dist/wa-sqlite.mjs' */
/** @import { Value } from './sqlite_statement.js' */
/** @import { Text } from './texts.js' */

const POINTER_BYTES = 4;
const OPEN_FLAGS = Code.SQLITE_OPEN_READWRITE | Code.SQLITE_OPEN_CREATE;
const OWNED = 3; // SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE

/** An open connection. */
export class Connection {
  #module;
  #texts;
  #database;
  #out; // room for two pointers that SQLite hands out
  /** @type {Statement[]} by their number */
  #statements = [];
  /** @type {Map<string, string>} what `prepare` has answered, by the statement's text */
  #prepared = new Map();

  /**
   * @param {SqliteModule} module
   * @param {string} file
   * @param {string} vfs
   */
  constructor(module, file, vfs) {
    this.#module = module;
    this.#texts = new Texts(module);
    this.#out = module._malloc(2 * POINTER_BYTES);
    const [fileText, vfsText] = this.#texts.write([file, vfs]);
    const code = module._sqlite3_open_v2(pointerOf(fileText), this.#out, OPEN_FLAGS, pointerOf(vfsText));
    this.#database = module.getValue(this.#out, '*');
    if (code !== Code.SQLITE_OK) throw this.#refusal();
  }

  /** Close the connection. */
  close() {
    const module = this.#module;
    for (const statement of this.#statements) statement.finalize();
    module._sqlite3_close_v2(this.#database);
    module._free(this.#out);
    this.#texts.free();
  }

  /**
   * Prepare a statement.
   * @param {string} sql
   * @returns {string} JSON of its number, the names of its parameters in the order in which `run` takes their values, and
   *   those of its columns
   */
  prepare(sql) {
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const statement = new Statement(this.#module, this.#texts, this.#compile(sql).pointer);
    const number = this.#statements.push(statement) - 1;
    const answer = JSON.stringify({ number, names: statement.parameters(), columns: statement.columns() });
    this.#prepared.set(sql, answer);
    return answer;
  }

  /**
   * Run prepared statements in order, until one is refused.
   * @param {string} calls JSON of a list of statements' numbers, each with a list of values
   * @returns {string} JSON of a list of each one's rows, each a list
   */
  run(calls) {
    return JSON.stringify(JSON.parse(calls).map((/** @type {[number, Value[]]} */ [number, values]) => this.#run(number, values)));
  }

  /**
   * @param {number} number
   * @param {Value[]} values
   */
  #run(number, values) {
    const statement = /** @type {Statement} */ (this.#statements[number]);
    try {
      if (values.length > 0 && !statement.bind(values)) throw this.#refusal();
      return this.#rows(statement);
    } finally {
      statement.reset();
    }
  }

  /**
   * Run several statements without parameters.
   * @param {string} sql
   */
  script(sql) {
    for (let rest = sql; rest.trim() !== ''; ) {
      const { pointer, tail } = this.#compile(rest);
      rest = tail;
      if (pointer === 0) continue; // a comment
      const statement = new Statement(this.#module, this.#texts, pointer);
      try {
        this.#rows(statement);
      } finally {
        statement.finalize();
      }
    }
  }

  /**
   * Return a database's content as a file has it.
   * @param {string} schema
   * @returns {Uint8Array<ArrayBuffer>}
   */
  serialize(schema) {
    const module = this.#module;
    const [name] = this.#texts.write([schema]);
    const pointer = module._sqlite3_serialize(this.#database, pointerOf(name), this.#out, 0);
    if (pointer === 0) throw this.#refusal();
    const file = module.HEAPU8.slice(pointer, pointer + module.getValue(this.#out, '*'));
    module._sqlite3_free(pointer);
    return file;
  }

  /**
   * Attach a file's content as a database in memory. A file that is not a database makes each later statement fail.
   * @param {string} schema the name to attach it under
   * @param {Uint8Array} file
   */
  attach(schema, file) {
    this.script(`ATTACH ':memory:' AS ${schema}`);
    try {
      this.#deserialize(schema, file);
    } catch (error) {
      this.script(`DETACH ${schema}`);
      throw error;
    }
  }

  /**
   * Refuse statements, those in a schema too, that are longer.
   * @param {number} bytes
   */
  limitStatements(bytes) {
    this.#module._sqlite3_limit(this.#database, Code.SQLITE_LIMIT_SQL_LENGTH, bytes);
  }

  /**
   * @param {string} schema
   * @param {Uint8Array} file
   */
  #deserialize(schema, file) {
    const module = this.#module;
    const size = file.length;
    const copy = module._sqlite3_malloc(size); // SQLite frees it
    if (copy === 0) throw refusal(`there is no memory for its ${size} bytes`, Code.SQLITE_NOMEM);
    module.HEAPU8.set(file, copy);
    const [name] = this.#texts.write([schema]);
    const code = module._sqlite3_deserialize(this.#database, pointerOf(name), copy, size, 0, size, 0, OWNED);
    if (code !== Code.SQLITE_OK) throw this.#refusal();
  }

  /** @param {string} sql */
  #compile(sql) {
    const module = this.#module;
    const [text] = this.#texts.write([sql]);
    const outTail = this.#out + POINTER_BYTES;
    const code = module._sqlite3_prepare_v2(this.#database, pointerOf(text), -1, this.#out, outTail);
    if (code !== Code.SQLITE_OK) throw this.#refusal();
    return { pointer: module.getValue(this.#out, '*'), tail: module.UTF8ToString(module.getValue(outTail, '*')) };
  }

  /** @param {Statement} statement */
  #rows(statement) {
    const rows = statement.rows();
    if (rows === null) throw this.#refusal();
    return rows;
  }

  #refusal() {
    const code = this.#module._sqlite3_extended_errcode(this.#database);
    return refusal(this.#module.UTF8ToString(this.#module._sqlite3_errmsg(this.#database)), code);
  }
}

/**
 * @param {string} message
 * @param {number} code
 */
function refusal(message, code) {
  return Object.assign(new Error(message), { name: 'StoreError', code });
}

/** @param {Text | undefined} text */
function pointerOf(text) {
  return text?.pointer ?? 0;
}
