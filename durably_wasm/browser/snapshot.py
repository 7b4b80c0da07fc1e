"""What goes into a snapshot of Python: modules into its memory, bytecode beside it. See `web/worker/snapshot.js`.

A compiled extension that was loaded before the memory is copied could not be loaded again after. So `prepare` and
`wake` are run from this file's path, without the package around it, which needs such extensions.
"""

from __future__ import annotations

import compileall
import gc
import importlib
import json
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from py_compile import PycInvalidationMode
from types import ModuleType

_LIBRARY = "/lib/"  # where Pyodide keeps the standard library and the wheels


def imported_modules() -> str:
    """Return the names of what this engine has imported so far, as JSON; each after the package that it lies in.

    The page's own modules are not among them: they change without a new build.
    """
    specs = {name: getattr(module, "__spec__", None) for name, module in sys.modules.items()}
    return json.dumps([name for name, spec in specs.items() if str(getattr(spec, "origin", "")).startswith(_LIBRARY)])


def prepare(folder: str, modules: str) -> str:
    """Compile what lies in a folder, import modules, and return the paths of the folder's files, as JSON."""
    compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    import_without_extensions(json.loads(modules))
    gc.collect()
    gc.freeze()  # what is here stays: no boot has to look through it for garbage
    return json.dumps([str(path) for path in Path(folder).rglob("*") if path.is_file()])


def import_without_extensions(names: Sequence[str]) -> None:
    """Import those of the modules that need no compiled extension, also where their package needs one.

    Such a package stands there empty meanwhile, and is gone in the end: who imports it later, executes it.
    """
    refusal = _ExtensionRefusal()
    sys.meta_path.insert(0, refusal)
    empty: list[str] = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # whatever a module raises that cannot have what it needs
            if package := _empty_package(name):
                sys.modules[name] = package
                empty.append(name)
    for name in empty:
        del sys.modules[name]
    sys.meta_path.remove(refusal)


def wake() -> None:
    """Do anew what a copied memory cannot know: the files beside it, and chance. Then import the engine."""
    importlib.invalidate_caches()
    random.seed()
    orphans = [name for name in sys.modules if name.rpartition(".")[0] not in sys.modules]
    importlib.import_module("durably_wasm")
    for name in orphans:  # the import of a package binds only those of its modules that it imports itself
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, sys.modules[name])


class _ExtensionRefusal(MetaPathFinder):
    """Finds nothing, and refuses compiled extensions."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            raise ImportError(f"{fullname} is a compiled extension", name=fullname)
        return None


def _empty_package(name: str) -> ModuleType | None:
    with suppress(Exception):
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            return module_from_spec(spec)
    return None
