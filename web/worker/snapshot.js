/**
 * A started Python, kept in Cache Storage: its memory, and the files that lie beside it. Knows bytes, not Python.
 *
 * A snapshot belongs to one build of the site in one browser: to the manifest, and so to the hash of every file that
 * it was made of, and to what Python learnt of the browser when it started. One record holds it all, so that no half
 * of it can be missing, under a hash of its own, so that nothing altered is ever started.
 */
import { SITE } from './files.js';
import { decode, encode } from './record.js';

/** @import { Manifest } from './files.js' */
/** @import { Files } from './record.js' */

/**
 * @typedef {object} Layout  what is known of a record before it is read
 * @property {string} sha256
 * @property {number} memory  its length
 * @property {number} index  its place in the record
 *
 * @typedef {object} Snapshot
 * @property {Uint8Array} memory  still empty until `filled`
 * @property {Promise<Files>} filled  the files; rejects when the record is not what was kept
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
 * Return the snapshot at an address, or null when there is none. It is still being read then.
 * @param {string} address
 * @returns {Promise<Snapshot | null>}
 */
export async function findSnapshot(address) {
  const response = await (await caches.open(CACHE)).match(address);
  if (response === undefined) return null;
  const header = response.headers.get(HEADER);
  if (header === null) throw new Error('it is not what was kept');
  const layout = /** @type {Layout} */ (JSON.parse(header));
  const memory = new Uint8Array(layout.memory);
  const filled = readRecord(response, layout, memory);
  filled.catch(() => {}); // whoever awaits it hears of it
  return { memory, filled };
}

/**
 * Keep a snapshot, and no other of this site.
 * @param {string} address
 * @param {Uint8Array<ArrayBuffer>} memory
 * @param {Files} files
 */
export async function keepSnapshot(address, memory, files) {
  const { bytes, index } = await encode(memory, files);
  const layout = { sha256: await sha256(bytes), memory: memory.length, index };
  await dropSnapshots();
  await (await caches.open(CACHE)).put(address, new Response(bytes, { headers: { [HEADER]: JSON.stringify(layout) } }));
}

/** Delete this site's snapshots, of whatever build. */
export async function dropSnapshots() {
  const cache = await caches.open(CACHE);
  const ours = (await cache.keys()).filter(({ url }) => url.startsWith(FOLDER));
  await Promise.all(ours.map((request) => cache.delete(request)));
}

/**
 * @param {Response} response
 * @param {Layout} layout
 * @param {Uint8Array} memory
 * @returns {Promise<Files>}
 */
async function readRecord(response, { sha256: expected, index }, memory) {
  const bytes = await response.arrayBuffer();
  const hashing = sha256(bytes);
  const files = decode(bytes, index, memory); // meanwhile, in this thread
  if ((await hashing) !== expected) throw new Error('it is not what was kept');
  return files;
}

/** @param {BufferSource} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
