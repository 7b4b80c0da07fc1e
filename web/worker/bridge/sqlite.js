/**
 * The SQLite bridge: wa-sqlite's synchronous build on the origin-private file system.
 *
 * Every call but `open` is synchronous, so a transaction that Python makes of several is never cut in two by a turn of
 * the event loop. Knows where a database lies and who uses it, not what its rows mean.
 */
import createModule from '../../wa-sqlite/dist/wa-sqlite.mjs';
import * as Code from '../../wa-sqlite/src/sqlite-constants.js';
import { Connection } from './sqlite_connection.js';
import { FilePool } from './pool.js';
import { fetchChecked, readManifest } from '../files.js';
import { pathOf } from '../../shared/stores.js';

/** @import { SqliteModule } from '../../wa-sqlite/dist/wa-sqlite.mjs' */

const FOLDER = 'wa-sqlite/';
const CODE = `${FOLDER}dist/wa-sqlite.wasm`;
const FILE = 'durably.db';
const MAGIC = 'SQLite format 3\0';
const LONGEST_DEFINITION = 4096; // bytes of what makes a table: the parser goes as deep as a longer one nests

/** @type {Promise<SqliteModule> | undefined} one for all databases of this worker */
let loading;

/** @type {Map<string, { opening: Promise<Sqlite>, users: number }>} a file has one holder, so stores share it */
const opened = new Map();

/** An open database, as `durably_wasm/browser/bridge.py` drives it. */
export class Sqlite {
  #name;
  #module;
  #pool;
  #connection;

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
    loading ??= loadModule();
    const module = await loading;
    const pool = await FilePool.open(pathOf(name), module, onBusy);
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
    module.vfs_register(pool, false);
    this.#connection = new Connection(module, FILE, pool.name);
    this.script('PRAGMA locking_mode = exclusive; PRAGMA temp_store = memory;');
  }

  /** Close the database, unless another store of this worker uses it. */
  close() {
    const entry = opened.get(this.#name);
    if (entry && --entry.users > 0) return;
    opened.delete(this.#name);
    this.#connection.close();
    this.#pool.close();
  }

  /** @type {Connection['prepare']} */
  prepare(sql) {
    return this.#connection.prepare(sql);
  }

  /** @type {Connection['run']} */
  run(calls) {
    return this.#connection.run(calls);
  }

  /** @type {Connection['script']} */
  script(sql) {
    this.#connection.script(sql);
  }

  /**
   * Return a new database's content as a file that `sqlite3` opens: pages of this one may hold what was deleted.
   * @param {{ schema: string, rows: string }} scripts  the first makes an empty database, the second fills it, attached as
   *   `exported`, from this one
   */
  export({ schema, rows }) {
    const empty = this.#alone((alone) => {
      alone.script(schema);
      return alone.serialize('main');
    });
    this.#connection.attach('exported', empty);
    try {
      this.#connection.script(rows);
      return this.#connection.serialize('exported');
    } finally {
      this.#connection.script('DETACH exported');
    }
  }

  /**
   * Attach a file's content as a database in memory, until it is detached.
   *
   * That is tried on a connection of its own before: with what is no database attached, no statement can be prepared, not
   * even the one that detaches it.
   * @param {string} schema the name to attach it under
   * @param {Uint8Array} content
   */
  attach(schema, content) {
    if (new TextDecoder().decode(content.subarray(0, MAGIC.length)) !== MAGIC) throw badFile('it is not a SQLite database');
    const file = withoutWal(content);
    try {
      this.#alone((alone) => {
        alone.limitStatements(LONGEST_DEFINITION);
        alone.attach(schema, file);
        alone.script(`SELECT 1 FROM ${schema}.sqlite_schema LIMIT 1`);
      });
      this.#connection.attach(schema, file);
    } catch (error) {
      throw badFile(whyNotOpened(/** @type {Error & { code?: number }} */ (error)));
    }
  }

  /**
   * Use a connection of its own to an empty database in memory.
   * @template T
   * @param {(alone: Connection) => T} use
   */
  #alone(use) {
    const alone = new Connection(this.#module, ':memory:', this.#pool.name);
    try {
      return use(alone);
    } finally {
      alone.close();
    }
  }
}

/** @returns {Promise<SqliteModule>} */
async function loadModule() {
  const manifest = await readManifest();
  const scripts = Object.keys(manifest.files).filter((path) => path.startsWith(FOLDER) && path !== CODE);
  const [code] = await Promise.all([CODE, ...scripts].map((path) => fetchChecked(manifest, path))); // an import takes no hash
  return createModule({ wasmBinary: await code?.arrayBuffer() });
}

/** @param {Error & { code?: number }} error */
function whyNotOpened({ code, message }) {
  const isCorrupt = code === Code.SQLITE_CORRUPT || code === Code.SQLITE_NOTADB;
  return `${isCorrupt ? 'it is corrupt' : 'it cannot be opened'}: ${message}`;
}

/** @param {string} reason */
function badFile(reason) {
  return Object.assign(new Error(`The file cannot be imported: ${reason}`), { name: 'StoreError' });
}

/**
 * Mark a file as one with a rollback journal: neither a database in memory nor one file alone has a log of its writes.
 * See https://www.sqlite.org/fileformat.html#file_format_version_numbers.
 * @template {Uint8Array} T
 * @param {T} file
 */
function withoutWal(file) {
  file[18] = file[19] = 1;
  return file;
}
