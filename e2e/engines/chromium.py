"""Chromium, by Playwright."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, Playwright

from e2e.browser import EXECUTABLE, Browser
from e2e.engines.base import EngineError, version_of


class ChromiumTab:
    """A tab of Chromium."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        self._page.goto(url)

    def evaluate(self, expression: str) -> object:
        try:
            return self._page.evaluate(expression)
        except PlaywrightError as error:
            raise EngineError(error.message) from error

    def run_and_reload(self, script: str) -> None:
        with self._page.expect_navigation():
            self._page.evaluate(f"() => {{ {script}; location.reload(); }}")

    def close(self) -> None:
        self._page.close()


class Chromium:
    """Chromium under Playwright, of which a process can have but one: it is given."""

    name = "chromium"
    keeps_profile = True

    @staticmethod
    @cache
    def version() -> str | None:
        number = version_of(EXECUTABLE)
        return number and f"Chromium {number}"

    def __init__(self, profile: Path, playwright: Playwright) -> None:
        self._browser = Browser(playwright, profile)
        self._tab: ChromiumTab | None = None
        self.troubles = self._browser.troubles

    def open(self, url: str) -> None:
        if self._tab is None:
            self._tab = self.new_tab()
        self._tab.open(url)

    def evaluate(self, expression: str) -> object:
        assert self._tab is not None, "nothing is open"
        return self._tab.evaluate(expression)

    def new_tab(self) -> ChromiumTab:
        return ChromiumTab(self._browser.new_page())

    def kill(self) -> None:
        self._browser.kill()
