/**
 * The plain boot, as Pyodide's documentation has it: load the runtime, unpack the wheels, import pydantic. The files
 * come from the HTTP cache, and neither fetching them nor importing `pyodide.mjs` is in the figures.
 */
import { answer } from './answer.js';
import { loadPyodide } from './durably/pyodide/pyodide.mjs';

answer(async () => {
  const manifest = await (await fetch('./durably/manifest.json')).json();
  const wheels = await Promise.all(manifest.engine.map(async (path) => (await fetch(`./durably/${path}`)).arrayBuffer()));
  const times = [performance.now()];
  const pyodide = await loadPyodide({ indexURL: new URL('./durably/pyodide/', import.meta.url).href });
  times.push(performance.now());
  const extractDir = pyodide.runPython('import sysconfig; sysconfig.get_path("purelib")');
  for (const wheel of wheels) pyodide.unpackArchive(wheel, 'wheel', { extractDir });
  times.push(performance.now());
  pyodide.runPython('import pydantic\nclass Model(pydantic.BaseModel):\n    number: int\nModel(number=1)');
  times.push(performance.now());
  const [runtime, packages, pydantic] = times.slice(1).map((time, index) => time - times[index]);
  return { runtime, packages, pydantic };
});
