"""One Chromium on a persistent profile, and the pages that are measured in it."""

from __future__ import annotations

import itertools
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Page, Playwright

from e2e.bench.origins import serve_ours, serve_upstream
from e2e.browser import Browser

UPSTREAM = "upstream"
UPSTREAM_OPTIONS = {"pollingIntervalMs": 50}
PATIENCE_MS = 120_000
WARM_UP, UPSTREAM_WARM_UP = 1_000, 20  # steps; upstream spends its time waiting, not computing

_WITHIN = """([patience, argument]) => Promise.race([
    (%s)(argument),
    new Promise((_, reject) => setTimeout(() => reject(new Error(`no answer within ${patience} ms`)), patience)),
])"""


class Session:
    """Opens the pages. An *engine* is a store's name, for ours, or `upstream`.

    `close()` closes the browser and stops serving. What is put in `folder` is served beside our engine.
    """

    def __init__(self, playwright: Playwright, folder: Path, *, upstream: bool = True) -> None:
        self.folder = folder / "ours-built"
        self._names = (f"bench-{number}" for number in itertools.count())
        self._engines: dict[str, Page] = {}
        with ExitStack() as opened:
            self._ours = serve_ours(folder)
            opened.callback(self._ours.stop)
            self._upstream = serve_upstream(folder) if upstream else None
            if self._upstream is not None:
                opened.callback(self._upstream.stop)
            self._browser = Browser(playwright, folder / "profile")
            opened.callback(self._browser.close)
            self.close = opened.pop_all().close

    @property
    def version(self) -> str:
        """The browser's version."""
        browser = self._browser.context.browser
        return browser.version if browser else "unknown"

    @property
    def troubles(self) -> list[str]:
        """What went wrong in the pages unnoticed."""
        return self._browser.troubles

    def engine(self, engine: str) -> Page:
        """Return this round's page with an engine that has warmed up on an empty database."""
        if engine not in self._engines:
            self._engines[engine] = self.open_engine(engine, self.new_name())
            steps = UPSTREAM_WARM_UP if engine == UPSTREAM else WARM_UP
            evaluate(self._engines[engine], "(steps) => measures.warmUp(steps)", steps)
        page = self._engines[engine]
        page.bring_to_front()
        return page

    def open_engine(self, engine: str, database: str, **options: object) -> Page:
        """Open a further page with an engine, ready."""
        if engine == UPSTREAM:
            page = self._open(self._address(UPSTREAM, {"database": database, **UPSTREAM_OPTIONS, **options}))
        else:
            page = self._open(self._address("", {"database": database, "store": engine, **options}))
        evaluate(page, "() => opened")
        return page

    def open_bare(self) -> Page:
        """Open our origin's page without an engine that can fill databases."""
        return self._open(f"{self._ours.url}/index.html")

    def open_raw(self) -> Page:
        """Open the page that measures without an engine."""
        return self._open(f"{self._ours.url}/raw.html")

    def discard(self, engine: str) -> None:
        """Close an engine's page; the next one has a new database."""
        self._engines.pop(engine).close()

    def new_name(self) -> str:
        """Return a name that no database has yet."""
        return next(self._names)

    def end_round(self) -> None:
        """Close the pages; the next round's have new databases."""
        for engine in list(self._engines):
            self.discard(engine)

    def _address(self, engine: str, options: dict[str, object]) -> str:
        server = self._upstream if engine == UPSTREAM else self._ours
        if server is None:
            raise RuntimeError("not asked for")
        return f"{server.url}/index.html?options={quote(json.dumps(options))}"

    def _open(self, address: str) -> Page:
        page = self._browser.open(address)
        page.bring_to_front()
        return page


def evaluate(page: Page, function: str, argument: object = None, *, patience_ms: int = PATIENCE_MS) -> Any:
    """Call a JavaScript function in a page and return what it resolves with, or raise when it takes too long."""
    return page.evaluate(_WITHIN % function, [patience_ms, argument])
