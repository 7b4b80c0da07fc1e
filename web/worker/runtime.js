/**
 * The Pyodide runtime and the wheels, from the site's own files. Knows Pyodide, neither the engine nor snapshots.
 */
import { SITE, fetchChecked, importModule, unusable } from './files.js';
import { measured } from './stages.js';

/** @import { Manifest } from './files.js' */
/** @import { CreateModule, LoadPyodide, Options, Pyodide } from './pyodide.js' */

const CODE = 'pyodide/pyodide.asm.wasm';
const SCRIPTS = ['pyodide/pyodide.mjs', 'pyodide/pyodide.asm.mjs'];

/** @type {WeakMap<Response, Promise<WebAssembly.Module>>} what a response stands for */
const compiled = new WeakMap();
const { instantiateStreaming } = WebAssembly;

WebAssembly.instantiateStreaming = async (source, imports) => {
  const response = await source;
  const module = await compiled.get(response);
  if (module === undefined) return instantiateStreaming(response, imports);
  return { module, instance: await WebAssembly.instantiate(module, imports) };
};

/**
 * Start the runtime. Its code is compiled while the rest of it is fetched.
 * @param {Manifest} manifest
 * @param {Options} [options]
 * @param {Promise<unknown>} [filled] settles once the memory that `options` bring is there
 * @returns {Promise<Pyodide>}
 */
export async function loadRuntime(manifest, options = {}, filled) {
  const failure = Promise.withResolvers(); // Pyodide waits for ever for what it could not have
  failure.promise.catch(() => {}); // whoever loses the race below is nobody's fault
  const code = measured('compile', () => compileCode(manifest));
  code.catch(failure.reject);
  filled?.catch(failure.reject);
  const { loadPyodide, createModule } = await measured('scripts', () => importScripts(manifest));
  const restore = serve(manifest, code, failure.reject);
  try {
    const createPyodideModule = async (/** @type {object} */ settings) => {
      const module = await measured('module', () => createModule(settings));
      await filled;
      return module;
    };
    const pyodide = loadPyodide({ indexURL: new URL('pyodide/', SITE).href, createPyodideModule, ...options });
    return await Promise.race([pyodide, failure.promise]);
  } finally {
    restore();
  }
}

/**
 * Unpack wheels into site-packages.
 * @param {Pyodide} pyodide
 * @param {ArrayBuffer[]} wheels
 */
export function unpack(pyodide, wheels) {
  const extractDir = sitePackages(pyodide);
  for (const wheel of wheels) pyodide.unpackArchive(wheel, 'wheel', { extractDir });
}

/** @param {Pyodide} pyodide */
export function sitePackages(pyodide) {
  return pyodide.runPython('import sysconfig; sysconfig.get_path("purelib")');
}

/**
 * Fetch wheels, all at once.
 * @param {Manifest} manifest
 * @param {string[]} paths
 * @returns {Promise<ArrayBuffer[]>}
 */
export function fetchWheels(manifest, paths) {
  return Promise.all(paths.map(async (path) => (await fetchChecked(manifest, path)).arrayBuffer()));
}

/** @param {Manifest} manifest */
async function compileCode(manifest) {
  const response = await fetchChecked(manifest, CODE);
  try {
    return await WebAssembly.compileStreaming(response);
  } catch (error) {
    throw await unusable(new URL(CODE, SITE), { kind: 'WebAssembly' }, `cannot be compiled: ${error}`);
  }
}

/**
 * @param {Manifest} manifest
 * @returns {Promise<{ loadPyodide: LoadPyodide, createModule: CreateModule }>}
 */
async function importScripts(manifest) {
  const modules = Promise.all(SCRIPTS.map((path) => importModule(new URL(path, SITE))));
  modules.catch(() => {}); // the check below names the file
  await Promise.all(SCRIPTS.map((path) => fetchChecked(manifest, path))); // an import takes no hash, but the same bytes
  const [{ loadPyodide }, { default: createModule }] = await modules;
  return { loadPyodide, createModule };
}

/**
 * Let Pyodide have checked files, and code that is being compiled already, until the returned function is called.
 * @param {Manifest} manifest
 * @param {Promise<WebAssembly.Module>} code
 * @param {(error: unknown) => void} onFailure
 */
function serve(manifest, code, onFailure) {
  const plainFetch = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    const path = new URL(input instanceof Request ? input.url : input, SITE).href.slice(SITE.href.length);
    if (path === CODE) return standIn(code);
    if (!(path in manifest.files)) return plainFetch(input, init);
    try {
      return await fetchChecked(manifest, path);
    } catch (error) {
      onFailure(error);
      return new Promise(() => {}); // Pyodide would leave a rejection unhandled
    }
  };
  return () => void (globalThis.fetch = plainFetch);
}

/**
 * Return a response for `WebAssembly.instantiateStreaming` that stands for code which is compiled elsewhere.
 * @param {Promise<WebAssembly.Module>} code
 */
function standIn(code) {
  const response = new Response();
  compiled.set(response, code);
  return response;
}
