/** Runs the clauses of tests/contract, which the test copied into the site, against the browser's real stores. */
import { bootPython } from './durably/worker/boot.js';
import { IndexedDb } from './durably/worker/bridge/indexeddb.js';

/** Only where it is asked for: its module does not load without the origin's private file system. */
async function openSqlite(name) {
  const { Sqlite } = await import('./durably/worker/bridge/sqlite.js');
  return Sqlite.open(name);
}

try {
  const { pyodide } = await bootPython(() => {});
  pyodide.registerJsModule('durably_wasm_js', { openIndexedDb: IndexedDb.open, openSqlite });
  const files = await (await fetch('./contract/files.json')).json();
  for (const file of files) {
    const text = await (await fetch(`./contract/${file}`)).text();
    pyodide.FS.mkdirTree(`/tests/contract`);
    pyodide.FS.writeFile(`/tests/contract/${file}`, text);
  }
  pyodide.FS.writeFile('/tests/__init__.py', '');
  pyodide.FS.writeFile('/run_contract.py', await (await fetch('./run_contract.py')).text());
  pyodide.runPython('import sys; sys.path.insert(0, "/")');
  postMessage({ results: JSON.parse(await pyodide.pyimport('run_contract').run_all(new URL(location.href).searchParams.get('store'))) });
} catch (error) {
  postMessage({ error: String(error) });
}
