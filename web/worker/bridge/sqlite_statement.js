/**
 * A prepared statement of SQLite: values in, rows out, by pointers into wa-sqlite's memory. All calls are synchronous.
 * Knows neither what it says nor on which connection.
 */
import * as Code from '../../wa-sqlite/src/sqlite-constants.js';

/** @import { SqliteModule } from '../../wa-sqlite/dist/wa-sqlite.mjs' */
/** @import { Text, Texts } from './texts.js' */

/** @typedef {string | number | null} Value */

export class Statement {
  #module;
  #texts;
  #pointer;
  #columns;

  /**
   * @param {SqliteModule} module
   * @param {Texts} texts room for its values, which the next statement may have
   * @param {number} pointer
   */
  constructor(module, texts, pointer) {
    this.#module = module;
    this.#texts = texts;
    this.#pointer = pointer;
    this.#columns = module._sqlite3_column_count(pointer);
  }

  /** Free it; it cannot be used any more. */
  finalize() {
    this.#module._sqlite3_finalize(this.#pointer);
  }

  /** The names of its parameters, in the order in which `bind` takes their values. */
  parameters() {
    const count = this.#module._sqlite3_bind_parameter_count(this.#pointer);
    return Array.from({ length: count }, (_, index) => {
      const name = this.#module._sqlite3_bind_parameter_name(this.#pointer, index + 1);
      return this.#module.UTF8ToString(name).slice(1); // without its colon
    });
  }

  /** The names of its columns. */
  columns() {
    return Array.from({ length: this.#columns }, (_, column) =>
      this.#module.UTF8ToString(this.#module._sqlite3_column_name(this.#pointer, column)),
    );
  }

  /**
   * @param {Value[]} values
   * @returns {boolean} false when SQLite refused one, which its connection can explain
   */
  bind(values) {
    const texts = this.#texts.write(values);
    return values.every((value, index) => this.#bind(index + 1, value, texts[index]) === Code.SQLITE_OK);
  }

  /**
   * @param {number} position
   * @param {Value} value
   * @param {Text | undefined} text
   */
  #bind(position, value, text) {
    if (text) return this.#module._sqlite3_bind_text(this.#pointer, position, text.pointer, text.bytes, 0);
    if (value === null) return this.#module._sqlite3_bind_null(this.#pointer, position);
    return bindNumber(this.#module, this.#pointer, position, /** @type {number} */ (value));
  }

  /** @returns {Value[][] | null} all its rows; null when SQLite refused, which its connection can explain */
  rows() {
    /** @type {Value[][]} */
    const rows = [];
    for (;;) {
      const code = this.#module._sqlite3_step(this.#pointer);
      if (code === Code.SQLITE_DONE) return rows;
      if (code !== Code.SQLITE_ROW) return null;
      rows.push(Array.from({ length: this.#columns }, (_, column) => this.#column(column)));
    }
  }

  /** Make it ready to be run again. */
  reset() {
    this.#module._sqlite3_reset(this.#pointer);
  }

  /**
   * @param {number} column
   * @returns {Value}
   */
  #column(column) {
    const module = this.#module;
    switch (module._sqlite3_column_type(this.#pointer, column)) {
      case Code.SQLITE_NULL:
        return null;
      case Code.SQLITE_TEXT: {
        const pointer = module._sqlite3_column_text(this.#pointer, column);
        return this.#texts.read(pointer, module._sqlite3_column_bytes(this.#pointer, column));
      }
      default:
        return module._sqlite3_column_double(this.#pointer, column);
    }
  }
}

/**
 * @param {SqliteModule} module
 * @param {number} statement
 * @param {number} position
 * @param {number} value
 */
function bindNumber(module, statement, position, value) {
  return (value | 0) === value
    ? module._sqlite3_bind_int(statement, position, value)
    : module._sqlite3_bind_double(statement, position, value);
}
