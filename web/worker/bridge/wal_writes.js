/**
 * Gathers what SQLite writes to its write-ahead log: one write to the file for each transaction instead of two for each
 * page, which took much of a checkpoint's time.
 *
 * A frame of the log is a header and a page behind it, and the header of a transaction's last frame says how long the
 * database is then (https://www.sqlite.org/fileformat.html#the_write_ahead_log). With that frame everything is written;
 * what waits until then is of a transaction that is not committed, and nobody misses it after a crash.
 */
import * as Code from '../../wa-sqlite/src/sqlite-constants.js';

const FRAME_HEADER_BYTES = 24;
const LENGTH_IN_HEADER = 4; // where it says how many pages the database has then; 0 before the last frame
const MOST_BYTES = 1 << 18;

/** The writes to one file, which wait for the end of their transaction. */
export class WalWrites {
  #write;
  #bytes = new Uint8Array(MOST_BYTES);
  #length = 0;
  #offset = 0;
  #isLastFrame = false;

  /** @param {(data: Uint8Array, offset: number) => number} write  writes to the file, and returns SQLite's result code */
  constructor(write) {
    this.#write = write;
  }

  /**
   * @param {Uint8Array} data
   * @param {number} offset
   * @returns {number} SQLite's result code
   */
  write(data, offset) {
    const isHeader = data.length === FRAME_HEADER_BYTES;
    const isLastPage = this.#isLastFrame && !isHeader;
    this.#isLastFrame = isHeader && lengthIn(data) > 0;
    if (offset !== this.#offset + this.#length || this.#length + data.length > MOST_BYTES) {
      const code = this.flush();
      if (code !== Code.SQLITE_OK) return code;
      this.#offset = offset;
    }
    this.#bytes.set(data, this.#length);
    this.#length += data.length;
    return isLastPage ? this.flush() : Code.SQLITE_OK;
  }

  /**
   * Write what waits; to be called before anything else is done with the file.
   * @returns {number} SQLite's result code
   */
  flush() {
    const data = this.#bytes.subarray(0, this.#length);
    const offset = this.#offset;
    this.#offset += this.#length;
    this.#length = 0;
    return data.length === 0 ? Code.SQLITE_OK : this.#write(data, offset);
  }
}

/** @param {Uint8Array} header */
function lengthIn(header) {
  return new DataView(header.buffer, header.byteOffset).getUint32(LENGTH_IN_HEADER);
}
