"""A site's layout, and the manifest that the boot follows.

SOURCE's files lie in DIST as they are, and everything of ours in one folder beside them:

    durably/page/       what a page imports, with shared/ and worker/ beside it
    durably/pyodide/    the runtime
    durably/wheels/     the engine, what it needs, and the packages asked for
    durably/wa-sqlite/  SQLite for the browser
    durably/sql/        the statements that Python and JavaScript both load
    durably/manifest.json
    durably/files.json  all of the site's files with their hashes, for the next build and for error messages
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict

import click

from durably_wasm.cli.dist import OURS, check_dist, integrity, put_in_place, write_record
from durably_wasm.cli.downloads import Report
from durably_wasm.cli.engine import PACKAGE, installed_metadata, installed_version, pack_engine
from durably_wasm.cli.runtime import copy_runtime, copy_sqlite, find_runtime, runtime_version
from durably_wasm.cli.source import copy_source
from durably_wasm.cli.wheels import ALWAYS, ENGINE_NEEDS, find_wheels, required_name, with_needs

_WEB_FOLDERS = ("page", "shared", "worker", "offline")

_ignored = shutil.ignore_patterns(".*", "__pycache__", "*.py", "tsconfig.json", "types")


class Manifest(TypedDict):
    """What the boot reads first; paths are relative to the manifest.

    `engine` lists the wheels to unpack, in order; `packages` those that a name adds to them; `files` the hash
    of each file of the runtime and of each wheel, in the form of Subresource Integrity.
    """

    version: str
    pyodide: str
    engine: list[str]
    packages: dict[str, list[str]]
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Where everything of ours lies before it is put together."""

    package: Path
    version: str
    metadata: str
    web: Path
    runtime: Path
    wheels: Mapping[str, Path]
    packages: tuple[str, ...] = ()

    @classmethod
    def find(cls, downloads: Path, packages: tuple[str, ...], report: Report) -> Self:
        """Return the parts of this installation; what is not in `downloads` yet is downloaded."""
        in_wheel, in_checkout = PACKAGE / "web", PACKAGE.parent / "web"
        web = in_wheel if in_wheel.is_dir() else in_checkout
        return cls(
            package=PACKAGE,
            version=installed_version(),
            metadata=installed_metadata(),
            web=web,
            runtime=find_runtime(downloads, web, report),
            wheels=find_wheels(downloads, packages, report),
            packages=tuple(required_name(package) for package in packages),
        )


def build_site(source: Path, dist: Path, find_parts: Callable[[], Parts], report: Report) -> None:
    """Build a site beside `dist` and put it in its place, so that a failed build leaves the old site.

    Raises `ClickException` when a folder is not what it should be, before anything is downloaded.
    """
    given, source, dist = dist, _resolved(source), _resolved(dist)
    try:
        _check_source(source)
        check_dist(source, dist)
        parts = find_parts()
        dist.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dist.parent, prefix=f".{dist.name}-", ignore_cleanup_errors=True) as made:
            site = Path(made, "new")
            copy_source(source, site, report)
            manifest = _add_ours(site / OURS, parts)
            write_record(site)
            put_in_place(site, dist, Path(made, "old"))
    except OSError as error:
        raise click.ClickException(f"Cannot build {given}: {error}") from error
    names = ", ".join(manifest["packages"])
    report(f"Built {given}: engine {manifest['version']}, Pyodide {manifest['pyodide']}, packages {names}")


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))  # `Path.resolve` raises for a link to itself


def _check_source(source: Path) -> None:
    if not source.is_dir():
        raise click.ClickException(f"{source} is not a folder")
    if os.path.lexists(source / OURS):
        raise click.ClickException(f"{source / OURS} is in the way: that name is kept for the engine's files")


def _add_ours(ours: Path, parts: Parts) -> Manifest:
    for folder in filter(lambda name: (parts.web / name).is_dir(), _WEB_FOLDERS):
        shutil.copytree(parts.web / folder, ours / folder, ignore=_ignored)
    sql = parts.package / "stores" / "sql"
    if sql.is_dir():
        shutil.copytree(sql, ours / "sql", ignore=_ignored)
    copy_runtime(parts.runtime, ours / "pyodide")
    copy_sqlite(parts.runtime, ours / "wa-sqlite")
    manifest = _add_wheels(ours, parts)
    (ours / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def _add_wheels(ours: Path, parts: Parts) -> Manifest:
    asked = (*ALWAYS, *parts.packages)
    if missing := [name for name in (*ENGINE_NEEDS, *asked) if name not in parts.wheels]:
        raise click.ClickException(f"There is no wheel of {', '.join(missing)}")
    packages = {name: with_needs(name, parts.wheels, ENGINE_NEEDS) for name in asked}
    paths = {name: f"wheels/{wheel.name}" for name, wheel in parts.wheels.items()}
    (ours / "wheels").mkdir()
    for name in {*ENGINE_NEEDS, *(need for names in packages.values() for need in names)}:
        shutil.copyfile(parts.wheels[name], ours / paths[name])
    engine = pack_engine(parts.package, parts.version, parts.metadata, ours / "wheels")
    return Manifest(
        version=parts.version,
        pyodide=runtime_version(parts.runtime),
        engine=[*(paths[name] for name in ENGINE_NEEDS), f"wheels/{engine.name}"],
        packages={name: [paths[need] for need in names] for name, names in packages.items()},
        files=_hashes(ours, "pyodide", "wa-sqlite", "wheels"),
    )


def _hashes(ours: Path, *folders: str) -> dict[str, str]:
    files = sorted(path for folder in folders for path in (ours / folder).rglob("*") if path.is_file())
    return {path.relative_to(ours).as_posix(): integrity(path.read_bytes()) for path in files}
