"""What goes into a snapshot of Python: modules into its memory, bytecode beside it. See `web/worker/snapshot.js`.

`prepare` is run in a Python that has loaded no compiled extension, and so without the package around this file.
"""

from __future__ import annotations

import compileall
import importlib
import json
import sys
import zipimport
from pathlib import Path
from py_compile import PycInvalidationMode


def standard_modules() -> str:
    """Return the names of the standard library's modules that this engine has imported so far, as JSON.

    Pyodide keeps it in a zip; what lies elsewhere is not of the standard library, or is compiled into Python.
    """
    return json.dumps(
        [name for name, module in sys.modules.items() if isinstance(_loader(module), zipimport.zipimporter)]
    )


def prepare(folder: str, modules: str) -> str:
    """Compile what lies in a folder, import modules, and return the paths of the folder's files, as JSON."""
    compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    for name in json.loads(modules):
        importlib.import_module(name)
    return json.dumps([str(path) for path in Path(folder).rglob("*") if path.is_file()])


def _loader(module: object) -> object:
    return getattr(module, "__loader__", None)
