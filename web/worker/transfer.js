/**
 * A SQLite database as a file, out of the browser and back in. Knows files, not what is in them.
 */

/** @import { Sqlite } from './bridge/sqlite.js' */

/**
 * Return the database as a file that `sqlite3` opens.
 * @param {Sqlite | null} sqlite
 * @param {string} name
 */
export function toFile(sqlite, name) {
  return new File([opened(sqlite).serialize()], `${name}.sqlite3`, { type: 'application/vnd.sqlite3' });
}

/**
 * Attach a file's database as `imported`, for Python to take over what is in it.
 * @param {Sqlite | null} sqlite
 * @param {Blob} file
 */
export async function attachFile(sqlite, file) {
  opened(sqlite).attach('imported', new Uint8Array(await file.arrayBuffer()));
}

/** @param {Sqlite | null} sqlite */
function opened(sqlite) {
  if (sqlite) return sqlite;
  const message = "Only a SQLite database is a file: createDurably with store: 'sqlite'. These runs are in IndexedDB";
  throw Object.assign(new Error(message), { name: 'StoreError' });
}
