"""Pyodide's own files, from the npm package that `web/package-lock.json` pins."""

from __future__ import annotations

import json
import shutil
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
    into.mkdir(parents=True)
    for name in RUNTIME_FILES:
        if not (runtime / name).is_file():
            raise click.ClickException(f"Pyodide's npm package in {runtime} has no {name}")
        shutil.copyfile(runtime / name, into / name)
