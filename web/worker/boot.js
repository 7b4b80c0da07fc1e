/**
 * Python, from the site's own files: the Pyodide runtime and the engine's wheels, as the manifest lists them.
 *
 * Every file is checked against the manifest's SHA-256 by the browser itself (Subresource Integrity). Knows files and
 * Pyodide, not the engine.
 */

/**
 * @typedef {object} Manifest
 * @property {string} version
 * @property {string} pyodide
 * @property {string[]} engine  the wheels of the engine and what it needs
 * @property {Record<string, string[]>} packages  further packages by name, each with its wheels
 * @property {Record<string, string>} files  path -> "sha256-…"
 *
 * @typedef {import('./pyodide.js').Pyodide} Pyodide
 */

const SITE = new URL('..', import.meta.url);

/**
 * Start Python with the engine's wheels installed.
 * @param {(stage: 'runtime' | 'packages') => void} onStage
 * @returns {Promise<{ pyodide: Pyodide, manifest: Manifest }>}
 */
export async function bootPython(onStage) {
  onStage('runtime');
  const manifest = await readManifest();
  const wheels = manifest.engine.map((path) => fetchChecked(manifest, path));
  wheels.forEach((wheel) => wheel.catch(() => {})); // awaited below; until then a failure is nobody's fault
  const pyodide = await loadRuntime(manifest);
  onStage('packages');
  for (const wheel of wheels) unpack(pyodide, await (await wheel).arrayBuffer());
  return { pyodide, manifest };
}

/**
 * Install further packages with micropip: from the site's own files where the manifest has them.
 * @param {Pyodide} pyodide
 * @param {Manifest} manifest
 * @param {string[]} names
 */
export async function installPackages(pyodide, manifest, names) {
  if (names.length === 0) return;
  await installOwn(pyodide, manifest, 'micropip');
  const foreign = [];
  for (const name of names) {
    if (manifest.packages[name]) await installOwn(pyodide, manifest, name);
    else foreign.push(name);
  }
  if (foreign.length > 0) {
    await pyodide.pyimport('micropip').install?.(pyodide.toPy(foreign));
  }
}

/** @returns {Promise<Manifest>} */
async function readManifest() {
  const url = new URL('manifest.json', SITE);
  const response = await fetch(url, { cache: 'no-cache' });
  if (!response.ok) throw new Error(`Cannot start Python: ${url.pathname} is missing (HTTP ${response.status})`);
  return response.json();
}

/**
 * @param {Manifest} manifest
 * @returns {Promise<Pyodide>}
 */
async function loadRuntime(manifest) {
  const scripts = ['pyodide/pyodide.mjs', 'pyodide/pyodide.asm.mjs'];
  await Promise.all(scripts.map((path) => fetchChecked(manifest, path))); // import() takes no hash, but the same bytes
  const { loadPyodide } = await import(new URL('pyodide/pyodide.mjs', SITE).href);
  const plainFetch = globalThis.fetch;
  const failure = Promise.withResolvers(); // Pyodide waits for ever for a runtime that it could not fetch
  globalThis.fetch = (input, init) => {
    const path = new URL(input instanceof Request ? input.url : input, SITE).href.slice(SITE.href.length);
    if (!(path in manifest.files)) return plainFetch(input, init);
    const response = fetchChecked(manifest, path, plainFetch);
    response.catch(failure.reject);
    return response;
  };
  try {
    return await Promise.race([loadPyodide({ indexURL: new URL('pyodide/', SITE).href }), failure.promise]);
  } finally {
    globalThis.fetch = plainFetch;
  }
}

/**
 * @param {Pyodide} pyodide
 * @param {Manifest} manifest
 * @param {string} name
 */
async function installOwn(pyodide, manifest, name) {
  for (const path of manifest.packages[name] ?? []) {
    unpack(pyodide, await (await fetchChecked(manifest, path)).arrayBuffer());
  }
}

/**
 * @param {Pyodide} pyodide
 * @param {ArrayBuffer} wheel
 */
function unpack(pyodide, wheel) {
  pyodide.unpackArchive(wheel, 'wheel', { extractDir: pyodide.runPython('import sysconfig; sysconfig.get_path("purelib")') });
}

/**
 * Fetch one of the manifest's files; a missing or altered one is named.
 * @param {Manifest} manifest
 * @param {string} path
 * @param {typeof fetch} [plainFetch]
 */
async function fetchChecked(manifest, path, plainFetch = fetch) {
  const url = new URL(path, SITE);
  const integrity = manifest.files[path];
  if (integrity === undefined) throw new Error(`Cannot start Python: ${path} is not in durably/manifest.json`);
  try {
    const response = await plainFetch(url, { integrity });
    if (response.ok) return response;
  } catch {
    // which of the reasons it was, a second look tells
  }
  throw new Error(`Cannot start Python: durably/${path} ${await fault(url, plainFetch)}`);
}

/**
 * @param {URL} url
 * @param {typeof fetch} plainFetch
 */
async function fault(url, plainFetch) {
  try {
    const response = await plainFetch(url, { method: 'HEAD' });
    if (!response.ok) return `is missing (HTTP ${response.status})`;
    return 'does not have the SHA-256 that the manifest lists: it was altered, or is of another build';
  } catch {
    return 'cannot be fetched: the server does not answer';
  }
}
