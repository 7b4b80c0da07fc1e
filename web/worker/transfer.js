/**
 * A SQLite database as a file, out of the browser and back in. Knows files, not what is in them.
 */

/** @import { Sqlite } from './bridge/sqlite.js' */

/**
 * Return what the database shows as a file that `sqlite3` opens.
 * @param {Sqlite | null} sqlite
 * @param {string} name
 * @param {string} scripts JSON of what `Sqlite.export` takes
 */
export function toFile(sqlite, name, scripts) {
  return new File([opened(sqlite).export(JSON.parse(scripts))], `${name}.sqlite3`, { type: 'application/vnd.sqlite3' });
}

/**
 * Attach a file's database as `imported`, for Python to take over what is in it.
 * @param {Sqlite | null} sqlite
 * @param {Blob} file
 */
export async function attachFile(sqlite, file) {
  const database = opened(sqlite);
  database.attach('imported', await bytesOf(file));
}

/** @param {Blob} file */
async function bytesOf(file) {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    throw storeError(`The file cannot be imported: it cannot be read (${error})`);
  }
}

/** @param {Sqlite | null} sqlite */
function opened(sqlite) {
  if (sqlite) return sqlite;
  throw storeError("Only a SQLite database is a file: createDurably with store: 'sqlite'. These runs are in IndexedDB");
}

/** @param {string} message */
function storeError(message) {
  return Object.assign(new Error(message), { name: 'StoreError' });
}
