/**
 * Where wa-sqlite keeps its files: the origin-private file system (OPFS), through synchronous access handles.
 *
 * wa-sqlite's own class lets the browser's exceptions unwind through SQLite's frames, which leaves SQLite in the middle
 * of what it did. Here each becomes the result code that SQLite expects. Knows files, not what is in them.
 */
import { AccessHandlePoolVFS } from '../../wa-sqlite/src/examples/AccessHandlePoolVFS.js';
import * as Code from '../../wa-sqlite/src/sqlite-constants.js';
import { holdHandles } from './handles.js';
import { WalWrites } from './wal_writes.js';

/** @import { SqliteModule } from '../../wa-sqlite/dist/wa-sqlite.mjs' */

const BUSY_PAUSE_MS = 50;
const FILES = 6; // what wa-sqlite makes of a new directory; a database in WAL mode needs two of them at once

holdHandles();

/** A directory of the origin-private file system as a virtual file system of SQLite. */
export class FilePool extends AccessHandlePoolVFS {
  /** @type {Map<number, WalWrites>} by the file's number, of the logs that are open */
  #logs = new Map();

  /**
   * Open a directory's files; wait as long as another worker holds one of them.
   *
   * Rejects with a `StoreError` that `isFull` when there is no room for them.
   * @param {string} path
   * @param {SqliteModule} module
   * @param {() => void} onBusy called once if there is something to wait for
   */
  static async open(path, module, onBusy) {
    try {
      await untilFree(await directoryOf(path), onBusy);
      const pool = new FilePool(path, module);
      await pool.isReady();
      const missing = FILES - pool.getCapacity(); // a worker that died while it made them has left fewer
      if (missing > 0) await pool.addCapacity(missing);
      return pool;
    } catch (error) {
      throw isFull(error) ? noRoom(path) : error;
    }
  }

  /** @type {AccessHandlePoolVFS['jOpen']} */
  jOpen(name, file, flags, outFlags) {
    if (flags & Code.SQLITE_OPEN_WAL) {
      this.#logs.set(file, new WalWrites((data, offset) => super.jWrite(file, data, offset)));
    }
    return guarded(Code.SQLITE_CANTOPEN, () => super.jOpen(name, file, flags, outFlags));
  }

  /** @type {AccessHandlePoolVFS['jClose']} */
  jClose(file) {
    const flushed = this.#flush(file);
    this.#logs.delete(file);
    return guarded(Code.SQLITE_IOERR_CLOSE, () => super.jClose(file)) || flushed;
  }

  /** @type {AccessHandlePoolVFS['jDelete']} */
  jDelete(name, syncDirectory) {
    return guarded(Code.SQLITE_IOERR_DELETE, () => super.jDelete(name, syncDirectory));
  }

  /** @type {AccessHandlePoolVFS['jRead']} */
  jRead(file, data, offset) {
    return this.#flush(file) || guarded(Code.SQLITE_IOERR_READ, () => super.jRead(file, data, offset));
  }

  /** @type {AccessHandlePoolVFS['jWrite']} */
  jWrite(file, data, offset) {
    return guarded(Code.SQLITE_IOERR_WRITE, () => {
      const log = this.#logs.get(file);
      return log ? log.write(data.subarray(), offset) : super.jWrite(file, data, offset);
    });
  }

  /** @type {AccessHandlePoolVFS['jTruncate']} */
  jTruncate(file, size) {
    return this.#flush(file) || guarded(Code.SQLITE_IOERR_TRUNCATE, () => super.jTruncate(file, size));
  }

  /** @type {AccessHandlePoolVFS['jSync']} */
  jSync(file, flags) {
    return this.#flush(file) || guarded(Code.SQLITE_IOERR_FSYNC, () => super.jSync(file, flags));
  }

  /** @type {AccessHandlePoolVFS['jFileSize']} */
  jFileSize(file, size) {
    return this.#flush(file) || guarded(Code.SQLITE_IOERR_FSTAT, () => super.jFileSize(file, size));
  }

  /**
   * Write what waits to be written to a file, if it is a log.
   * @param {number} file
   * @returns {number} SQLite's result code
   */
  #flush(file) {
    return guarded(Code.SQLITE_IOERR_WRITE, () => this.#logs.get(file)?.flush() ?? Code.SQLITE_OK);
  }
}

/**
 * @param {number} otherwise the code for an exception that is not about room
 * @param {() => number} operation
 */
function guarded(otherwise, operation) {
  try {
    return operation();
  } catch (error) {
    return isFull(error) ? Code.SQLITE_FULL : otherwise;
  }
}

/** @param {unknown} error */
function isFull(error) {
  return /** @type {Error} */ (error).name === 'QuotaExceededError';
}

/** @param {string} path */
function noRoom(path) {
  const message = `There is no room left for the SQLite database in ${path}: the browser gives this site no more storage`;
  return Object.assign(new Error(message), { name: 'StoreError', isFull: true });
}

/** @param {string} path */
async function directoryOf(path) {
  let directory = await navigator.storage.getDirectory();
  for (const name of path.split('/')) directory = await directory.getDirectoryHandle(name, { create: true });
  return directory;
}

/**
 * Return once every file of a directory can be opened. A worker that was terminated keeps its handles for a moment.
 * @param {FileSystemDirectoryHandle} directory
 * @param {() => void} onBusy
 */
async function untilFree(directory, onBusy) {
  let told = false;
  while (!(await isFree(directory))) {
    if (!told) onBusy();
    told = true;
    await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
  }
}

/** @param {FileSystemDirectoryHandle} directory */
async function isFree(directory) {
  /** @type {Promise<FileSystemSyncAccessHandle>[]} */
  const opening = [];
  for await (const entry of directory.values()) {
    if (entry.kind === 'file') opening.push(/** @type {FileSystemFileHandle} */ (entry).createSyncAccessHandle());
  }
  const opened = await Promise.allSettled(opening);
  for (const file of opened) if (file.status === 'fulfilled') file.value.close();
  const refused = opened.find((file) => file.status === 'rejected');
  if (refused && refused.reason.name !== 'NoModificationAllowedError') throw refused.reason;
  return refused === undefined;
}
