/**
 * The site's own files, as its manifest lists them. Knows URLs and hashes, not what the files are for.
 *
 * Every file is checked against the manifest's SHA-256 by the browser itself (Subresource Integrity).
 */

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
  const response = await fetch(url, { cache: 'no-cache' });
  if (!response.ok) throw new Error(`Cannot start the engine: ${url.pathname} is missing (HTTP ${response.status})`);
  return response.json();
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
  try {
    const response = await plainFetch(url, { integrity });
    if (response.ok) return response;
  } catch {
    // which of the reasons it was, a second look tells
  }
  throw new Error(`Cannot start the engine: durably/${path} ${await fault(url)}`);
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
    throw Object.assign(new Error(`Cannot start the engine: ${error}`), { name: 'LoadError' });
  }
}

/** @param {URL} url */
async function fault(url) {
  try {
    const response = await plainFetch(url, { method: 'HEAD' });
    if (!response.ok) return `is missing (HTTP ${response.status})`;
    return 'does not have the SHA-256 that the manifest lists: it was altered, or is of another build';
  } catch {
    return 'cannot be fetched: the server does not answer';
  }
}
