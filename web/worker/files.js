/**
 * The site's own files, as its manifest lists them. Knows URLs and hashes, not what the files are for.
 *
 * Every file is checked against the manifest's SHA-256 by the browser itself (Subresource Integrity).
 */
import { aboutFile, faultOf, moduleFault } from '../shared/faults.js';

/** @import { Expected } from '../shared/faults.js' */

/**
 * @typedef {object} Manifest
 * @property {string} version
 * @property {string} pyodide
 * @property {string[]} engine  the wheels of the engine and what it needs
 * @property {Record<string, string[]>} packages  further packages by name, each with its wheels
 * @property {Record<string, string>} files  path -> "sha256-…"
 */

const plainFetch = globalThis.fetch; // while Python starts, another stands in its place

export const SITE = new URL('..', import.meta.url);

/** @returns {Promise<Manifest>} */
export async function readManifest() {
  const url = new URL('manifest.json', SITE);
  const response = await plainFetch(url, { cache: 'no-cache' }).catch(() => null);
  const manifest = response?.ok ? await response.json().catch(() => null) : null;
  if (typeof manifest?.files !== 'object') throw await unusable(url, { kind: 'data' }, 'is not the manifest that the build wrote');
  return manifest;
}

/**
 * Fetch one of the manifest's files; a missing or altered one is named.
 * @param {Manifest} manifest
 * @param {string} path
 */
export async function fetchChecked(manifest, path) {
  const url = new URL(path, SITE);
  const integrity = manifest.files[path];
  if (integrity === undefined) throw new Error(`Cannot start the engine: ${path} is not in durably/manifest.json`);
  const response = await plainFetch(url, { integrity }).catch(() => null);
  if (!response?.ok) throw await unusable(url, { kind: 'data', integrity }, 'could not be fetched at first; reload the page');
  return response;
}

/**
 * Import a module where it is needed; reject with an error named `LoadError`, after which the page tries another worker.
 * @param {URL} url
 * @returns {Promise<any>}
 */
export async function importModule(url) {
  try {
    return await import(url.href);
  } catch (error) {
    const reason = (await moduleFault(url)) ?? aboutFile(url, `cannot be loaded: ${error}`);
    throw Object.assign(new Error(`Cannot start the engine: ${reason}`), { name: 'LoadError' });
  }
}

/**
 * Return an error that names a file which cannot be used, and says what came instead.
 * @param {URL} url
 * @param {Expected} expected
 * @param {string} otherwise  what is wrong when the file itself is as expected
 */
export async function unusable(url, expected, otherwise) {
  const fault = (await faultOf(url, expected)) ?? aboutFile(url, `${otherwise}. Its URL is ${url.href}`);
  return new Error(`Cannot start the engine: ${fault}`);
}
