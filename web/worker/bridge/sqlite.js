/**
 * The SQLite bridge: wa-sqlite's synchronous build on the origin-private file system.
 *
 * Knows statements, values and rows, not what they mean. What crosses to and from Python is JSON text; a statement is
 * prepared once and called by its number. Every call but `open` is synchronous, so a transaction that Python makes of
 * several is never cut in two by a turn of the event loop.
 */
import createModule from '../../wa-sqlite/dist/wa-sqlite.mjs';
import * as Code from '../../wa-sqlite/src/sqlite-constants.js';
import { FilePool } from './pool.js';
import { Texts } from './texts.js';

/** @import { SqliteModule } from '../../wa-sqlite/dist/wa-sqlite.mjs' */
/** @import { Text } from './texts.js' */

/**
 * @typedef {string | number | null} Value
 * @typedef {{ pointer: number, columns: number }} Statement
 */

const POINTER_BYTES = 4;
const OWNED = 3; // SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE
const FILE = 'durably.db';
const OPEN_FLAGS = Code.SQLITE_OPEN_READWRITE | Code.SQLITE_OPEN_CREATE;

/** @type {Promise<SqliteModule> | undefined} one for all databases of this worker */
let loading;

/** @type {Map<string, { opening: Promise<Sqlite>, users: number }>} a file has one holder, so stores share it */
const opened = new Map();

/** An open database, as `durably_wasm/browser/bridge.py` drives it. */
export class Sqlite {
  #module;
  #pool;
  #texts;
  #name;
  #database;
  #out; // room for two pointers that SQLite hands out
  /** @type {Statement[]} by their number */
  #statements = [];
  /** @type {Map<string, string>} what `prepare` has answered, by the statement's text */
  #prepared = new Map();

  /**
   * Open a database, which lies in a directory of its own.
   * @param {string} name
   * @param {() => void} [onBusy] called once if another worker still holds its files
   * @returns {Promise<Sqlite>}
   */
  static open(name, onBusy = () => {}) {
    const known = opened.get(name);
    if (known) {
      known.users += 1;
      return known.opening;
    }
    const opening = Sqlite.#open(name, onBusy);
    opened.set(name, { opening, users: 1 });
    opening.catch(() => opened.delete(name));
    return opening;
  }

  /**
   * @param {string} name
   * @param {() => void} onBusy
   */
  static async #open(name, onBusy) {
    loading ??= createModule();
    const module = /** @type {SqliteModule} */ (await loading);
    const pool = await FilePool.open(`durably/${encodeURIComponent(name)}`, module, onBusy);
    try {
      return new Sqlite(name, module, pool);
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  /**
   * @param {string} name
   * @param {SqliteModule} module
   * @param {FilePool} pool
   */
  constructor(name, module, pool) {
    this.#name = name;
    this.#module = module;
    this.#pool = pool;
    this.#texts = new Texts(module);
    this.#out = module._malloc(2 * POINTER_BYTES);
    module.vfs_register(pool, false);
    const [file, vfs] = this.#texts.write([FILE, pool.name]);
    const code = module._sqlite3_open_v2(pointerOf(file), this.#out, OPEN_FLAGS, pointerOf(vfs));
    this.#database = module.getValue(this.#out, '*');
    if (code !== Code.SQLITE_OK) throw this.#refusal();
    this.script('PRAGMA locking_mode = exclusive; PRAGMA temp_store = memory;');
  }

  /** Close the database, unless another store of this worker uses it. */
  close() {
    const entry = opened.get(this.#name);
    if (entry && --entry.users > 0) return;
    opened.delete(this.#name);
    for (const { pointer } of this.#statements) this.#module._sqlite3_finalize(pointer);
    this.#module._sqlite3_close_v2(this.#database);
    this.#pool.close();
  }

  /**
   * Prepare a statement.
   * @param {string} sql
   * @returns {string} JSON of its number and the names of its parameters in the order in which `run` takes their values
   */
  prepare(sql) {
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const { pointer } = this.#compile(sql);
    const names = this.#parameters(pointer);
    const number = this.#statements.push({ pointer, columns: this.#module._sqlite3_column_count(pointer) }) - 1;
    const answer = JSON.stringify({ number, names });
    this.#prepared.set(sql, answer);
    return answer;
  }

  /**
   * Run a prepared statement.
   * @param {number} number
   * @param {string} values JSON of a list; empty for a statement without parameters
   * @returns {string} JSON of its rows, each a list; empty when there are none
   */
  run(number, values) {
    const { pointer, columns } = /** @type {Statement} */ (this.#statements[number]);
    try {
      if (values !== '') this.#bind(pointer, JSON.parse(values));
      const rows = this.#step(pointer, columns);
      return rows.length === 0 ? '' : JSON.stringify(rows);
    } finally {
      this.#module._sqlite3_reset(pointer);
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
      try {
        this.#step(pointer, this.#module._sqlite3_column_count(pointer));
      } finally {
        this.#module._sqlite3_finalize(pointer);
      }
    }
  }

  /**
   * Return the database's content as a file has it.
   * @returns {Uint8Array<ArrayBuffer>}
   */
  serialize() {
    const module = this.#module;
    const [schema] = this.#texts.write(['main']);
    const pointer = module._sqlite3_serialize(this.#database, pointerOf(schema), this.#out, 0);
    if (pointer === 0) throw this.#refusal();
    const file = module.HEAPU8.slice(pointer, pointer + module.getValue(this.#out, '*'));
    module._sqlite3_free(pointer);
    return withoutWal(file);
  }

  /**
   * Attach a file's content as a database in memory, until it is detached.
   * @param {string} schema the name to attach it under
   * @param {Uint8Array} file
   */
  attach(schema, file) {
    const module = this.#module;
    if (!isDatabase(file)) throw sqliteError(Code.SQLITE_NOTADB, 'the file does not begin as one');
    this.script(`ATTACH ':memory:' AS ${schema}`);
    const size = file.length;
    const copy = module._sqlite3_malloc(size); // SQLite frees it
    module.HEAPU8.set(withoutWal(file.slice()), copy);
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

  /** @param {number} statement */
  #parameters(statement) {
    const count = this.#module._sqlite3_bind_parameter_count(statement);
    return Array.from({ length: count }, (_, index) => {
      const name = this.#module._sqlite3_bind_parameter_name(statement, index + 1);
      return this.#module.UTF8ToString(name).slice(1); // without its colon
    });
  }

  /**
   * @param {number} statement
   * @param {Value[]} values
   */
  #bind(statement, values) {
    const module = this.#module;
    const texts = this.#texts.write(values);
    values.forEach((value, index) => {
      const text = texts[index];
      if (text) module._sqlite3_bind_text(statement, index + 1, text.pointer, text.bytes, 0);
      else if (value === null) module._sqlite3_bind_null(statement, index + 1);
      else bindNumber(module, statement, index + 1, /** @type {number} */ (value));
    });
  }

  /**
   * @param {number} statement
   * @param {number} columns
   */
  #step(statement, columns) {
    /** @type {Value[][]} */
    const rows = [];
    for (;;) {
      const code = this.#module._sqlite3_step(statement);
      if (code === Code.SQLITE_DONE) return rows;
      if (code !== Code.SQLITE_ROW) throw this.#refusal();
      rows.push(Array.from({ length: columns }, (_, column) => this.#column(statement, column)));
    }
  }

  /**
   * @param {number} statement
   * @param {number} column
   * @returns {Value}
   */
  #column(statement, column) {
    const module = this.#module;
    switch (module._sqlite3_column_type(statement, column)) {
      case Code.SQLITE_NULL:
        return null;
      case Code.SQLITE_TEXT: {
        const pointer = module._sqlite3_column_text(statement, column);
        return this.#texts.read(pointer, module._sqlite3_column_bytes(statement, column));
      }
      default:
        return module._sqlite3_column_double(statement, column);
    }
  }

  #refusal() {
    const code = this.#module._sqlite3_extended_errcode(this.#database);
    const message = this.#module.UTF8ToString(this.#module._sqlite3_errmsg(this.#database));
    return sqliteError(code, message);
  }
}

/**
 * @param {number} code
 * @param {string} message
 */
function sqliteError(code, message) {
  return Object.assign(new Error(message), { name: 'SqliteError', code });
}

/** @param {Uint8Array} file */
function isDatabase(file) {
  return new TextDecoder().decode(file.subarray(0, 16)) === 'SQLite format 3\0';
}

/**
 * Mark a file as one with a rollback journal: a database in memory has no log of its writes, nor has one file alone.
 * See https://www.sqlite.org/fileformat.html#file_format_version_numbers.
 * @template {Uint8Array} T
 * @param {T} file
 */
function withoutWal(file) {
  file[18] = file[19] = 1;
  return file;
}

/**
 * @param {SqliteModule} module
 * @param {number} statement
 * @param {number} position
 * @param {number} value
 */
function bindNumber(module, statement, position, value) {
  if ((value | 0) === value) module._sqlite3_bind_int(statement, position, value);
  else module._sqlite3_bind_double(statement, position, value);
}

/** @param {Text | undefined} text */
function pointerOf(text) {
  return text?.pointer ?? 0;
}
