/**
 * The two kinds of store in which a site's runs may lie, in words, and where SQLite's files are. Knows neither rows nor
 * engines.
 */

/** @import { Notice, StoreInfo } from './protocol.js' */

const NAMES = { indexeddb: 'IndexedDB', sqlite: 'SQLite' };
const PARENT = 'durably';
const LISTED = 10; // keys that a notice names

/** @param {StoreInfo['kind']} kind */
export function otherThan(kind) {
  return kind === 'sqlite' ? 'indexeddb' : 'sqlite';
}

/**
 * The path of a SQLite database's files in the origin-private file system.
 * @param {string} database
 */
export function pathOf(database) {
  return `${PARENT}/${encodeURIComponent(database)}`;
}

/**
 * Whether a SQLite database has files.
 * @param {string} database
 * @returns {Promise<boolean | null>} null where the file system cannot be opened
 */
export async function hasFiles(database) {
  try {
    const root = await navigator.storage.getDirectory();
    await (await root.getDirectoryHandle(PARENT)).getDirectoryHandle(encodeURIComponent(database));
    return true;
  } catch (error) {
    return error instanceof DOMException && error.name === 'NotFoundError' ? false : null;
  }
}

/**
 * Delete a SQLite database's files, while none of them is open.
 * @param {string} database
 * @returns {Promise<void>}
 */
export async function deleteFiles(database) {
  const root = await navigator.storage.getDirectory();
  await (await root.getDirectoryHandle(PARENT)).removeEntry(encodeURIComponent(database), { recursive: true });
}

/**
 * @param {string} message
 * @returns {Error} named `StoreError`
 */
export function storeError(message) {
  return Object.assign(new Error(message), { name: 'StoreError' });
}

/**
 * The error of an engine that does not start, because runs lie in the other store.
 * @param {string} database
 * @param {StoreInfo['kind']} lie
 * @param {StoreInfo['kind']} wanted
 */
export function liesElsewhere(database, lie, wanted) {
  return storeError(
    `The runs of "${database}" lie in ${NAMES[lie]}, and this page keeps its runs in ${NAMES[wanted]}: the engine does not ` +
      `start without them. createDurably({ store: '${wanted}', adopt: true }) moves them to ${NAMES[wanted]}, and ` +
      `createDurably({ store: '${lie}' }) goes on with them in ${NAMES[lie]}.`,
  );
}

/**
 * The notice of a page whose leader uses the other store.
 * @param {string} database
 * @param {StoreInfo['kind']} used
 * @param {StoreInfo['kind']} wanted
 * @param {boolean} adopt
 * @returns {Notice | null} null when both use the same
 */
export function usedElsewhere(database, used, wanted, adopt) {
  if (used === wanted) return null;
  const then = adopt ? 'This tab moves them as soon as it leads.' : 'createDurably with adopt: true would move them.';
  const message = `The tab that leads keeps the runs of "${database}" in ${NAMES[used]}, and this one asks for ${NAMES[wanted]}. ${then}`;
  return { name: 'OtherStore', message };
}

/**
 * The notice of an engine that moves runs.
 * @param {string} database
 * @param {StoreInfo['kind']} into
 * @returns {Notice}
 */
export function moving(database, into) {
  const message = `Moving the runs of "${database}" from ${NAMES[otherThan(into)]} to ${NAMES[into]}`;
  return { name: 'StoreAdoption', message };
}

/**
 * The notice of an engine whose move did not leave every run as it was.
 * @param {readonly string[]} givenUp  a sentence for each key that a run gave up
 * @param {StoreInfo['kind']} into
 * @returns {Notice | null} null when it did
 */
export function moved(givenUp, into) {
  if (givenUp.length === 0) return null;
  const more = givenUp.length > LISTED ? `; and ${givenUp.length - LISTED} more` : '';
  const message = `Not all runs were moved to ${NAMES[into]} as they were: ${givenUp.slice(0, LISTED).join('; ')}${more}`;
  console.warn(`durably: ${message}`);
  return { name: 'StoreAdopted', message };
}
