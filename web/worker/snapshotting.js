/**
 * A worker of its own that starts Python from the site's files, keeps a snapshot of it, and ends. The running engine
 * is not disturbed.
 *
 * The memory is copied before any compiled extension is loaded: it could not be loaded again.
 */
import { readManifest } from './files.js';
import { fetchWheels, loadRuntime, sitePackages, unpack } from './runtime.js';
import { addressOf, keepSnapshot } from './snapshot.js';

/** @import { Files } from './record.js' */

addEventListener('message', async ({ data: modules }) => {
  try {
    await navigator.locks.request('durably-snapshots', { ifAvailable: true }, (lock) => lock && makeSnapshot(modules));
  } catch (error) {
    console.warn(`durably: no snapshot of Python can be kept, so that the next start takes as long: ${error}`);
  }
  close();
});

/** @param {string} modules to be imported before the memory is copied, as JSON */
async function makeSnapshot(modules) {
  const manifest = await readManifest();
  const wheels = fetchWheels(manifest, manifest.engine);
  const pyodide = await loadRuntime(manifest, { _makeSnapshot: true });
  unpack(pyodide, await wheels);
  const folder = sitePackages(pyodide);
  const module = `${folder}/durably_wasm/browser/snapshot.py`;
  const prepare = `import runpy; runpy.run_path(${JSON.stringify(module)})["prepare"](${JSON.stringify(folder)}, ${JSON.stringify(modules)})`;
  const paths = /** @type {string[]} */ (JSON.parse(pyodide.runPython(prepare)));
  const files = paths.map((path) => /** @type {Files[number]} */ ([path, pyodide.FS.readFile(path)]));
  await keepSnapshot(await addressOf(manifest), pyodide.makeMemorySnapshot(), files);
}
