/**
 * Text in SQLite's memory. Knows UTF-8 and pointers, not what the text is for.
 */

import * as Code from '../../wa-sqlite/src/sqlite-constants.js';

/** @import { SqliteModule } from '../../wa-sqlite/dist/wa-sqlite.mjs' */

/** @typedef {{ pointer: number, bytes: number }} Text */

const LEAST_ROOM = 1 << 16;
const MOST_KEPT = 1 << 24; // SQLite may need what a larger text took
const MOST_BYTES_PER_UNIT = 3; // of UTF-8 for one unit of UTF-16

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Room for the texts of one call at a time: what is written stays until the next `write`. */
export class Texts {
  #module;
  #room = 0;
  #pointer = 0;

  /** @param {SqliteModule} module */
  constructor(module) {
    this.#module = module;
  }

  /**
   * Write texts, each with a zero behind it. Throws where SQLite's memory has no room for them.
   * @param {readonly unknown[]} values
   * @returns {Text[]} where each text lies, by its position; nothing for other values
   */
  write(values) {
    this.#reserve(values);
    const heap = this.#module.HEAPU8;
    let next = this.#pointer;
    /** @type {Text[]} */
    const texts = [];
    values.forEach((value, position) => {
      if (typeof value !== 'string') return;
      const bytes = encoder.encodeInto(value, heap.subarray(next, this.#pointer + this.#room)).written;
      heap[next + bytes] = 0;
      texts[position] = { pointer: next, bytes };
      next += bytes + 1;
    });
    return texts;
  }

  /**
   * @param {number} pointer
   * @param {number} bytes
   */
  read(pointer, bytes) {
    if (pointer === 0) throw outOfMemory(bytes); // SQLite has converted it, and had no room for that
    return decoder.decode(this.#module.HEAPU8.subarray(pointer, pointer + bytes));
  }

  free() {
    this.#module._free(this.#pointer);
    this.#pointer = this.#room = 0;
  }

  /** @param {readonly unknown[]} values */
  #reserve(values) {
    let needed = 0;
    for (const value of values) if (typeof value === 'string') needed += value.length * MOST_BYTES_PER_UNIT + 1;
    if (needed <= this.#room && this.#room <= MOST_KEPT) return;
    this.free();
    const room = Math.max(needed, LEAST_ROOM);
    this.#pointer = this.#module._malloc(room);
    if (this.#pointer === 0) throw outOfMemory(needed);
    this.#room = room;
  }
}

/** @param {number} bytes */
function outOfMemory(bytes) {
  return Object.assign(new Error(`out of memory: a value needs ${bytes} bytes`), { name: 'StoreError', code: Code.SQLITE_NOMEM });
}
