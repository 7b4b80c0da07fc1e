"""Chromium, by Playwright."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, Playwright

from e2e.browser import EXECUTABLE, Browser
from e2e.engines.base import EngineError, version_of


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
        self._page: Page | None = None
        self.troubles = self._browser.troubles

    def open(self, url: str) -> None:
        if self._page is None:
            self._page = self._browser.open(url)
        else:
            self._page.goto(url)

    def evaluate(self, expression: str) -> object:
        assert self._page is not None, "nothing is open"
        try:
            return self._page.evaluate(expression)
        except PlaywrightError as error:
            raise EngineError(error.message) from error

    def kill(self) -> None:
        self._browser.kill()
