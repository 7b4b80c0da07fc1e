"""What the tests ask of a browser engine, and what its drivers share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Protocol

from websocket import WebSocket, create_connection

STARTING_S = 60
PATIENCE_S = 300  # beyond every test's own time limit


class EngineError(Exception):
    """A script failed in the page, or the browser did not do what it was told."""


class Tab(Protocol):
    """One tab of a browser."""

    def open(self, url: str) -> None:
        """Go to an address and return once the page is loaded; the page before ends, as by a reload."""

    def evaluate(self, expression: str) -> object:
        """Return what a JavaScript expression evaluates to, awaited and as JSON; EngineError when it throws."""

    def run_and_reload(self, script: str) -> None:
        """Run a script, reload the page in the same task, and return once it is loaded again."""

    def close(self) -> None:
        """Close it, and its page with it."""


class Engine(Protocol):
    """One browser with one tab, on a profile directory."""

    name: ClassVar[str]
    keeps_profile: ClassVar[bool]  # whether what a page stored outlives the browser
    troubles: list[str]  # what went wrong in the page unnoticed, as far as the browser tells

    @staticmethod
    def version() -> str | None:
        """Return its name and version for people, or None when it is not installed."""

    def __init__(self, profile: Path) -> None:
        """Start it."""

    def open(self, url: str) -> None:
        """Go to an address and return once the page is loaded; the page before ends, as by a reload."""

    def evaluate(self, expression: str) -> object:
        """Return what a JavaScript expression evaluates to, awaited and as JSON; EngineError when it throws."""

    def kill(self) -> None:
        """SIGKILL all its processes, as a crash or the system would: the only way to end it, and harmless twice."""


class Tabbed(Engine, Protocol):
    """A browser that can have further tabs."""

    def new_tab(self) -> Tab:
        """Open one, with nothing in it."""


def connected(process: subprocess.Popen[bytes], address: Callable[[], str]) -> WebSocket:
    """Connect to a browser as soon as it has written where: until then, `address` raises OSError or ValueError."""
    deadline = time.monotonic() + STARTING_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, ValueError):
            return create_connection(address(), suppress_origin=True, timeout=PATIENCE_S)
        time.sleep(0.05)
    raise EngineError("the browser did not start")


def as_json(expression: str) -> str:
    """Return the expression of a promise for the JSON of what this one evaluates to."""
    return f"(async () => JSON.stringify((await ({expression})) ?? null))()"


def from_json(text: object) -> object:
    """Return what such a promise brought."""
    if not isinstance(text, str):
        raise EngineError(f"the page answered {text!r}")
    return json.loads(text)


def version_of(program: str | None) -> str | None:
    """Return the number that a program calls its version, or None when there is no such program."""
    if program is None or shutil.which(program) is None:
        return None
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return next(word for word in printed.split() if word[0].isdigit())


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process that leads a session of its own, and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
