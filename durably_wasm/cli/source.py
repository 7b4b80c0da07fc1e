"""What of SOURCE a site holds: every file, but for version control, caches and what is named like a secret.

A link inside SOURCE is followed; one that leads out of it is refused, since it would publish what SOURCE does not hold.
"""

from __future__ import annotations

import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import click

from durably_wasm.cli.downloads import Report

_VERSION_CONTROL = frozenset(
    (
        *(".git", ".gitattributes", ".gitignore", ".gitmodules"),
        *(".hg", ".hgignore", ".hgsub", ".hgsubstate", ".hgtags"),
        *(".bzr", ".bzrignore", ".jj", ".pijul", ".sl", ".svn", "CVS", ".cvsignore", "_darcs"),
    )
)
_CACHES = (
    *("__pycache__", "*.pyc", ".*cache", ".hypothesis", ".ipynb_checkpoints", ".nox", ".tox"),
    *(".DS_Store", "Thumbs.db", ".#*", ".*.sw[a-p]"),  # of file managers and editors
)
_CACHE_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")  # https://bford.info/cachedir, and a virtual environment
_SECRETS = (".env", ".env.*", ".netrc", ".npmrc", ".pypirc")


def is_version_control(name: str) -> bool:
    """Does a file or folder of this name belong to version control?"""
    return name in _VERSION_CONTROL


def is_cache(name: str) -> bool:
    """Does a file or folder of this name come and go by itself?"""
    return any(fnmatchcase(name, pattern) for pattern in _CACHES)


def is_secret(name: str) -> bool:
    """Does a file of this name usually hold passwords or tokens?"""
    return any(fnmatchcase(name, pattern) for pattern in _SECRETS)


def is_left_out(path: Path) -> bool:
    """Does a site go without this file or folder?"""
    name = path.name
    is_marked = any((path / mark).is_file() for mark in _CACHE_MARKS)
    return is_version_control(name) or is_cache(name) or is_secret(name) or is_marked


def copy_source(source: Path, into: Path, report: Report) -> None:
    """Copy SOURCE, a resolved path, into a new folder; report what could be missed.

    Raises `ClickException` for a link that leads out of SOURCE, to nothing or to itself, and for what is no file.
    """
    _copy_folder(source, into, report, (source,))


def _copy_folder(folder: Path, into: Path, report: Report, above: tuple[Path, ...]) -> None:
    into.mkdir()
    for entry in sorted(folder.iterdir()):
        if is_left_out(entry):
            if is_secret(entry.name):
                report(f"Left out {entry}, since such files hold secrets")
            continue
        path = _followed(entry, above[0])
        if path in above:
            raise click.ClickException(f"{entry} is a link to a folder that holds it, which has no end")
        if path.is_dir():
            _copy_folder(path, into / entry.name, report, (*above, path))
        elif path.is_file():
            shutil.copy2(path, into / entry.name)
        else:
            raise click.ClickException(f"{entry} is neither a file nor a folder, and no site can hold it")


def _followed(path: Path, source: Path) -> Path:
    """Return the path, or what it is a link to."""
    if not path.is_symlink():
        return path
    try:
        target = Path(os.path.realpath(path, strict=True))
    except OSError as error:
        reason = error.strerror or error
        raise click.ClickException(f"{path} is a link to {os.readlink(path)}, which leads nowhere: {reason}") from error
    if not target.is_relative_to(source):
        raise click.ClickException(f"{path} is a link out of {source}, to {target}; copy the file into it instead")
    if any(is_left_out(part) for part in (target, *target.parents) if part != source and part.is_relative_to(source)):
        raise click.ClickException(f"{path} is a link to {target}, which is left out of sites")
    return target
