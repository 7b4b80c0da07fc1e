"""The browser's side: the only package that imports `js` or `pyodide`.

What crosses between Python and JavaScript is JSON text, bytes or a function.
"""

from durably_wasm.browser.bridge import IndexedDbStore, WaSqliteStore

__all__ = ["IndexedDbStore", "WaSqliteStore"]
