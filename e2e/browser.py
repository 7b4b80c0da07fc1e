"""Real Chromium on a persistent profile, watched: what goes wrong in a page unnoticed fails the test."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Playwright, Request
from playwright.sync_api import Error as PlaywrightError

EXECUTABLE = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Browser:
    """A browser on a profile directory, so that what it stores survives it, as a user's does."""

    def __init__(self, playwright: Playwright, profile: Path, *, flags: Sequence[str] = (), **options: object) -> None:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        self.troubles: list[str] = []
        self._profile = profile
        self._suspended: set[int] = set()
        self.context: BrowserContext = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=EXECUTABLE, args=[*QUIET, *sandbox, *flags], **options
        )
        self.context.set_default_timeout(60_000)

    def open(self, url: str, *, expected: Callable[[str], bool] = lambda trouble: False) -> Page:
        """Open a page; troubles that `expected` accepts do not count."""
        page = self.new_page(expected)
        page.goto(url)
        return page

    def new_page(self, expected: Callable[[str], bool] = lambda trouble: False) -> Page:
        """Open an empty page, which is watched from then on."""
        page = self.context.new_page()

        def note(trouble: str) -> None:
            if not expected(trouble):
                self.troubles.append(trouble)

        def check_origin(request: Request) -> None:
            if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
                note(f"a request left the origin: {request.url}")

        page.on("console", lambda message: note(f"console: {message.text}") if message.type == "error" else None)
        page.on("pageerror", lambda error: note(f"uncaught: {error}"))
        page.on("crash", lambda: note("the page crashed"))
        page.on("request", check_origin)
        return page

    def suspend(self, page: Page) -> int:
        """Stop the process that renders a page, its worker in it, as a closed lid does; return it for `wake`."""
        before = self._seconds_computed()
        page.evaluate("() => { for (const end = performance.now() + 300; performance.now() < end; ); }")
        after = self._seconds_computed()
        process = max(after, key=lambda process: after[process] - before.get(process, 0))
        os.kill(process, signal.SIGSTOP)
        self._suspended.add(process)
        return process

    def wake(self, process: int) -> None:
        """Let a suspended process go on."""
        os.kill(process, signal.SIGCONT)
        self._suspended.remove(process)

    def close(self) -> None:
        for process in list(self._suspended):  # which would not let itself be closed
            self.wake(process)
        with suppress(PlaywrightError):  # a killed browser cannot be closed
            self.context.close()

    def kill(self) -> None:
        """SIGKILL every process of this browser, as a crash or the system would."""
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.close()

    def memory(self) -> int:
        """Return the bytes that all of its processes take, what they share counted once."""
        parents = {process: _parent(process) for process in _all_processes()}
        family = set(self._processes())
        while more := {process for process, parent in parents.items() if parent in family} - family:
            family |= more
        return sum(_proportional_set(process) for process in family)

    def _seconds_computed(self) -> dict[int, float]:
        """The renderers, with the time that each has computed."""
        browser = self.context.browser
        assert browser is not None
        session = browser.new_browser_cdp_session()
        processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        return {process["id"]: process["cpuTime"] for process in processes if process["type"] == "renderer"}

    def _processes(self) -> list[int]:
        mark = f"--user-data-dir={self._profile}".encode()
        found = []
        for process in _all_processes():
            with suppress(OSError):
                if mark in Path(f"/proc/{process}/cmdline").read_bytes():
                    found.append(process)
        return found


def _all_processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _parent(process: int) -> int | None:
    with suppress(OSError):  # it may have ended
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[1])
    return None


def _proportional_set(process: int) -> int:
    """Return a process's memory in bytes, its share only of what it shares (PSS; `man 5 proc`)."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0
