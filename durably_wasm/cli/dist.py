"""The folder that a site lies in: what a build wrote there, what it keeps, and how it is replaced.

Each build leaves a record of its files. A file that is in no record is another's, so a build refuses to replace it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from durably_wasm.cli.source import is_cache, is_version_control

OURS = "durably"  # the folder that a site keeps for us

_RECORD = f"{OURS}/files.json"
_HOSTS = frozenset({"CNAME"})  # where GitHub Pages keeps the site's domain
_NAMED = 5


def was_built(dist: Path) -> bool:
    """Is this folder a site of ours?"""
    return (dist / OURS / "manifest.json").is_file()


def write_record(site: Path) -> None:
    """Record all files of a site with their hashes: for the next build, and for a page that could not load one."""
    hashes = {name: integrity((site / name).read_bytes()) for name in sorted(_files(site))}
    (site / _RECORD).write_text(json.dumps(hashes, indent=0) + "\n")


def integrity(content: bytes) -> str:
    """Return the hash in the form that `fetch` checks by itself."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def check_dist(source: Path, dist: Path) -> None:
    """Raise `ClickException` when a site cannot take this folder's place: both are resolved paths."""
    if dist == source or dist in source.parents or source in dist.parents:
        raise click.ClickException(f"{dist} and {source} must not lie in each other")
    if dist.exists() and not dist.is_dir():
        raise click.ClickException(f"{dist} is a file, not a folder")
    others = list(islice(_others(dist), _NAMED + 1)) if dist.is_dir() else []
    if others:
        names = ", ".join(others[:_NAMED]) + (" and more" if len(others) > _NAMED else "")
        raise click.ClickException(
            f"{dist} holds other files than a built site: {names}. "
            "Move them into SOURCE, delete them, or choose another folder"
        )


def put_in_place(site: Path, dist: Path, old: Path) -> None:
    """Move a new site's files into `dist`, and those of the site before into the new folder `old`.

    The folder itself stays, with version control and the host's files in it: it may be a worktree, a mounted volume
    or a shell's current folder. When a move fails, all are taken back.
    """
    dist.mkdir(parents=True, exist_ok=True)
    old.mkdir()
    replaced = [name for name in sorted(os.listdir(dist)) if not _is_kept(name, dist, site)]
    moves = [(dist / name, old / name) for name in replaced]
    moves += [(site / name, dist / name) for name in sorted(os.listdir(site))]
    done: list[tuple[Path, Path]] = []
    try:
        for origin, target in moves:
            origin.rename(target)
            done.append((origin, target))
    except BaseException:
        for origin, target in reversed(done):
            target.rename(origin)
        raise


def _is_kept(name: str, dist: Path, site: Path) -> bool:
    if is_version_control(name):
        return True
    return name in _HOSTS and name not in _recorded(dist) and not (site / name).exists()


def _others(dist: Path) -> Iterator[str]:
    """Find the files that no build wrote and that a build would not keep either."""
    known = {_RECORD, *_recorded(dist), *_HOSTS}
    return (name for name in _files(dist) if name not in known)


def _files(folder: Path) -> Iterator[str]:
    """Find all files and links but those of caches, and of the version control that the folder is under."""
    for parent, folders, files in os.walk(folder, onerror=_raise):
        here = Path(parent)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if not _is_passed_over(here / name, folder))
        for path in sorted(here / name for name in [*files, *links]):
            if not _is_passed_over(path, folder):
                yield path.relative_to(folder).as_posix()


def _raise(error: OSError) -> None:
    raise error  # what cannot be read may be another's


def _is_passed_over(path: Path, folder: Path) -> bool:
    return is_cache(path.name) or (path.parent == folder and is_version_control(path.name))


def _recorded(dist: Path) -> frozenset[str]:
    try:
        hashes = json.loads((dist / _RECORD).read_text())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(hashes) if isinstance(hashes, dict) else frozenset()
