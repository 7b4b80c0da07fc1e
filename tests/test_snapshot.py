"""What is imported into a snapshot's memory, before any compiled extension is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import durably_wasm

SNAPSHOT = Path(durably_wasm.__file__).parent / "browser/snapshot.py"
NAMES = ("json", "pydantic_core", "pydantic_core.core_schema", "durably_wasm", "durably_wasm.events", "nowhere")


# In Pyodide the standard library's own extensions are compiled into Python; here they are imported first.
PREPARE = f"""
import contextlib, importlib, pathlib, runpy, sys, sysconfig
for extension in pathlib.Path(sysconfig.get_config_var("DESTSHARED")).glob("*.so"):
    with contextlib.suppress(ImportError):
        importlib.import_module(extension.name.partition(".")[0])
snapshot = runpy.run_path({str(SNAPSHOT)!r})
snapshot["import_without_extensions"]({NAMES})
"""


def told(code: str) -> str:
    """What a new interpreter prints that has imported NAMES without extensions."""
    done = subprocess.run([sys.executable, "-c", PREPARE + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_what_needs_no_extension() -> None:
    assert told(f"print(*[name for name in {NAMES} if name in sys.modules])") == (
        "json pydantic_core.core_schema durably_wasm.events"
    )
    assert told("print(*[name for name in sys.modules if name.endswith('_pydantic_core')])") == ""


def test_the_engine_is_whole_after_waking() -> None:
    wake = "kept = sys.modules['durably_wasm.events']\nsnapshot['wake']()\nimport durably_wasm, pydantic_core\n"
    same = "print(durably_wasm.events is kept, durably_wasm.Event is kept.Event, pydantic_core.core_schema.__name__)"
    assert told(wake + same) == "True True pydantic_core.core_schema"


def test_extensions_can_be_imported_again_afterwards() -> None:
    assert told("import pydantic; print(pydantic.TypeAdapter(int).validate_python('1'))") == "1"
