/**
 * Python with the engine's wheels installed: from the snapshot of an earlier boot, or, on any doubt, from the site's
 * files alone. Knows the two ways to boot, not the engine.
 */
import { readManifest } from './files.js';
import { fetchWheels, loadRuntime, unpack } from './runtime.js';
import { addressOf, canKeep, dropSnapshots, findSnapshot } from './snapshot.js';
import { measured, tellStages } from './stages.js';

/** @import { Manifest } from './files.js' */
/** @import { Pyodide } from './pyodide.js' */
/** @import { Files } from './record.js' */
/** @import { Snapshot } from './snapshot.js' */

const WAKE = 'import sys; sys.modules["durably_wasm.browser.snapshot"].wake()'; // it is in the memory

/** @type {{ pyodide: Pyodide, warm: boolean } | null} the Python of this worker; warm: it was started from a snapshot */
let booted = null;
/** @type {WebAssembly.Module[]} kept alive, see `compileExtensions` */
let compiled = [];

/**
 * Start Python with the engine's wheels installed.
 * @param {(stage: 'runtime' | 'packages') => void} onStage
 * @returns {Promise<{ pyodide: Pyodide, manifest: Manifest }>}
 */
export async function bootPython(onStage) {
  onStage('runtime');
  const manifest = await measured('manifest', readManifest);
  const snapshot = await lookForSnapshot(manifest);
  const restored = snapshot && (await bootFromSnapshot(manifest, snapshot, onStage));
  const pyodide = restored ?? (await bootFromFiles(manifest, onStage));
  booted = { pyodide, warm: restored !== null };
  return { pyodide, manifest };
}

/**
 * Tell how the boot went.
 * @returns {string | null} JSON, the modules that a snapshot for the next time should have imported; null when none is to
 *   be made: Python was started from one, or none can be kept
 */
export function finishBoot() {
  if (booted === null) return null;
  tellStages({ warm: booted.warm });
  if (booted.warm || !canKeep()) return null;
  return booted.pyodide.pyimport('durably_wasm.browser.snapshot').imported_modules?.() ?? null;
}

/**
 * Install further packages, of the site's own wheels alone.
 *
 * Rejects when a text is no requirement, or when the site does not have what one asks for.
 * @param {Pyodide} pyodide
 * @param {Manifest} manifest
 * @param {string[]} packages requirements, as pip reads them
 */
export async function installPackages(pyodide, manifest, packages) {
  if (packages.length === 0) return;
  const install = async (/** @type {string[]} */ wheels) => unpack(pyodide, await fetchWheels(manifest, wheels));
  await install(manifest.packages.packaging ?? []);
  const { choose_wheels, refusal } = pyodide.pyimport('durably_wasm.browser.packages');
  const asked = JSON.stringify(packages);
  await install(JSON.parse(choose_wheels?.(asked, JSON.stringify(manifest.packages))));
  const refused = refusal?.(asked);
  if (refused) throw new Error(`Cannot start the engine: ${refused}`);
}

/**
 * @param {Manifest} manifest
 * @returns {Promise<Snapshot | null>} that of this build, if there is one
 */
async function lookForSnapshot(manifest) {
  if (!canKeep()) return null;
  try {
    const snapshot = await findSnapshot(await addressOf(manifest));
    if (snapshot === null) console.info('durably: Python starts without a snapshot; one is made for the next time');
    return snapshot;
  } catch (error) {
    await distrust(error);
    return null;
  }
}

/**
 * @param {Manifest} manifest
 * @param {Snapshot} snapshot
 * @param {(stage: 'packages') => void} onStage
 * @returns {Promise<Pyodide | null>} null when the snapshot cannot be used
 */
async function bootFromSnapshot(manifest, { memory, filled }, onStage) {
  try {
    const reading = measured('snapshot', () => filled);
    const extensions = reading.then((files) => measured('extensions', () => compileExtensions(files)));
    extensions.catch(() => {}); // awaited below; until then a failure is nobody's fault
    const pyodide = await measured('runtime', () => loadRuntime(manifest, { _loadSnapshot: memory }, reading));
    onStage('packages');
    const files = await reading;
    await measured('files', () => writeFiles(pyodide, files));
    compiled = await extensions;
    await measured('import', () => pyodide.runPython(WAKE));
    return pyodide;
  } catch (error) {
    await distrust(error);
    return null;
  }
}

/**
 * @param {Manifest} manifest
 * @param {(stage: 'packages') => void} onStage
 */
async function bootFromFiles(manifest, onStage) {
  const fetching = measured('wheels', () => fetchWheels(manifest, manifest.engine));
  fetching.catch(() => {}); // awaited below; until then a failure is nobody's fault
  const pyodide = await measured('runtime', () => loadRuntime(manifest));
  onStage('packages');
  const wheels = await fetching;
  await measured('unpack', () => unpack(pyodide, wheels));
  await measured('import', () => pyodide.runPython('import durably_wasm'));
  return pyodide;
}

/**
 * Compile extensions while Python starts. Its own synchronous compilation of the same bytes then finds the code there,
 * for as long as one of these modules is alive (Chromium; elsewhere it compiles them as ever).
 * @param {Files} files
 */
function compileExtensions(files) {
  const extensions = files.filter(([path]) => path.endsWith('.so'));
  return Promise.all(extensions.map(([, content]) => WebAssembly.compile(content)));
}

/**
 * Say why the snapshot is not used, and have a new one made.
 * @param {unknown} error
 */
async function distrust(error) {
  console.warn(`durably: Python starts without its snapshot, which takes longer: ${error}`);
  await dropSnapshots().catch(() => {}); // where nothing can be deleted, the next boot will say the same
}

/**
 * @param {Pyodide} pyodide
 * @param {Files} files
 */
function writeFiles({ FS }, files) {
  for (const [path, content] of files) {
    FS.mkdirTree(path.slice(0, path.lastIndexOf('/')));
    FS.writeFile(path, content, { canOwn: true });
  }
}
