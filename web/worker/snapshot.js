/**
 * A started Python, kept in Cache Storage: its memory, and the files that lie beside it. Knows bytes, not Python.
 *
 * A snapshot belongs to one build of the site in one browser: to the manifest, and so to the hash of every file that
 * it was made of, and to what Python learnt of the browser when it started. One record holds it all, so that no half
 * of it can be missing, under a hash of its own, so that nothing altered is ever started.
 */
import { SITE } from './files.js';

/** @import { Manifest } from './files.js' */

/**
 * @typedef {object} Snapshot
 * @property {Uint8Array<ArrayBuffer>} memory
 * @property {[path: string, content: Uint8Array<ArrayBuffer>][]} files
 *
 * @typedef {object} Layout  what lies where in a record: memory, then the files, then their index
 * @property {string} sha256
 * @property {number} memory  its length
 * @property {number} index  its place
 */

const CACHE = 'durably-snapshots';
const HEADER = 'durably-layout';
const FOLDER = new URL('snapshots/', SITE).href;

/** Can snapshots be kept here? Not on a page that is no secure context. */
export const canKeep = () => 'caches' in globalThis && 'subtle' in crypto;

/**
 * Return the snapshot's address: another for each build and each browser.
 * @param {Manifest} manifest
 */
export async function addressOf(manifest) {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const belongsTo = JSON.stringify([manifest, navigator.userAgent, timeZone]);
  return FOLDER + (await sha256(new TextEncoder().encode(belongsTo)));
}

/**
 * Return the record at an address, still to be read, or null when there is none.
 * @param {string} address
 */
export async function findRecord(address) {
  return (await (await caches.open(CACHE)).match(address)) ?? null;
}

/**
 * Read the snapshot in a record; throws when it is not what was kept.
 * @param {Response} response
 * @returns {Promise<Snapshot>}
 */
export async function readSnapshot(response) {
  const layout = /** @type {Layout | null} */ (JSON.parse(response.headers.get(HEADER) ?? 'null'));
  const record = await response.arrayBuffer();
  if (layout?.sha256 !== (await sha256(record))) throw new Error('it is not what was kept');
  return { memory: new Uint8Array(record, 0, layout.memory), files: readFiles(record, layout) };
}

/**
 * Keep a snapshot, and no other of this site.
 * @param {string} address
 * @param {Snapshot} snapshot
 */
export async function keepSnapshot(address, { memory, files }) {
  const index = JSON.stringify(files.map(([path, { length }]) => [path, length]));
  const record = await new Blob([memory, ...files.map(([, content]) => content), index]).arrayBuffer();
  const layout = {
    sha256: await sha256(record),
    memory: memory.length,
    index: record.byteLength - new TextEncoder().encode(index).length,
  };
  await dropSnapshots();
  await (await caches.open(CACHE)).put(address, new Response(record, { headers: { [HEADER]: JSON.stringify(layout) } }));
}

/**
 * Delete this site's snapshots, except one.
 * @param {string} [kept] its address
 */
export async function dropSnapshots(kept) {
  const cache = await caches.open(CACHE);
  const ours = (await cache.keys()).filter(({ url }) => url.startsWith(FOLDER) && url !== kept);
  await Promise.all(ours.map((request) => cache.delete(request)));
}

/**
 * @param {ArrayBuffer} record
 * @param {Layout} layout
 * @returns {Snapshot['files']}
 */
function readFiles(record, { memory, index }) {
  const entries = /** @type {[string, number][]} */ (JSON.parse(new TextDecoder().decode(new Uint8Array(record, index))));
  let place = memory;
  return entries.map(([path, length]) => {
    const content = new Uint8Array(record, place, length);
    place += length;
    return [path, content];
  });
}

/** @param {BufferSource} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
