"""What came from a registry once is kept, so that the next build is fast and needs no network."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import platformdirs

Report = Callable[[str], None]


def downloads_folder() -> Path:
    """Return the user's cache folder for this package; it need not exist."""
    return Path(platformdirs.user_cache_dir("durably-wasm"))


def key(*parts: str) -> str:
    """Return a short name for what these texts describe, the same on every machine."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def filled_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Return `folder`, filled by `fill` at the first call.

    It appears complete or not at all: `fill` gets a temporary folder, which is then renamed. When two builds
    do so at once, the first rename wins.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".filling-") as made:
        content = Path(made, "content")
        content.mkdir()
        fill(content)
        try:
            content.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def run(command: Sequence[str], folder: Path, purpose: str) -> None:
    """Run a program in a folder; raise a `ClickException` with its last words when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise click.ClickException(f"{purpose} needs {command[0]}, which is not installed") from error
    if done.returncode != 0:
        raise click.ClickException(f"{purpose} failed: {_last_words(done.stderr or done.stdout)}")


def _last_words(complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return " | ".join((errors or lines)[-3:]) or "it said nothing"
