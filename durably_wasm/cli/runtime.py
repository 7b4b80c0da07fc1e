"""What comes from npm, as `web/package-lock.json` pins it: Pyodide's own files, and wa-sqlite's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from durably_wasm.cli.downloads import Report, filled_once, key, run

# The loader, the interpreter, the standard library, and the lock file that the loader insists on.
RUNTIME_FILES = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)

# The build without Asyncify, and the virtual file system over OPFS with what it imports.
SQLITE_FILES = (
    "dist/wa-sqlite.mjs",
    "dist/wa-sqlite.wasm",
    "src/FacadeVFS.js",
    "src/VFS.js",
    "src/sqlite-constants.js",
    "src/examples/AccessHandlePoolVFS.js",
)

_NPM_CI = (
    *("npm", "ci", "--omit=dev", "--ignore-scripts"),
    *("--no-audit", "--no-fund", "--loglevel=error", "--fetch-retry-maxtimeout=10000"),
)


def find_runtime(downloads: Path, web: Path, report: Report) -> Path:
    """Return the folder of Pyodide's npm package, installed on first use as the lock file says."""
    lock = (web / "package-lock.json").read_text()

    def install(folder: Path) -> None:
        report("Downloading Pyodide")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(web / name, folder)
        run(_NPM_CI, folder, "Downloading Pyodide")

    return filled_once(downloads / f"runtime-{key(lock)}", install) / "node_modules" / "pyodide"


def runtime_version(runtime: Path) -> str:
    """Return the version that Pyodide's npm package names itself."""
    package = json.loads((runtime / "package.json").read_text())
    return str(package["version"])


def copy_runtime(runtime: Path, into: Path) -> None:
    """Copy what a browser needs of Pyodide; raise when a file is missing."""
    _copy(runtime, RUNTIME_FILES, into)


def copy_sqlite(runtime: Path, into: Path) -> None:
    """Copy what a browser needs of wa-sqlite, which lies beside Pyodide; raise when a file is missing."""
    _copy(runtime.parent / "@journeyapps" / "wa-sqlite", SQLITE_FILES, into)


def _copy(package: Path, names: Sequence[str], into: Path) -> None:
    for name in names:
        if not (package / name).is_file():
            raise click.ClickException(f"The npm package in {package} has no {name}")
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / name, into / name)
