"""The stores' contract on the browser's real storage: the same clauses as on CPython."""

from __future__ import annotations

import pytest
from playwright.sync_api import Playwright

from e2e.browser import Browser
from e2e.server import Server
from tests.contract import database_clauses, driver_clauses, store_clauses

CLAUSES = [
    *(f"store: {name}" for name in store_clauses()),
    *(f"database: {name}" for name in database_clauses()),
    *(f"driver: {name}" for name in driver_clauses()),
]


@pytest.fixture(scope="module")
def results(playwright: Playwright, server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    browser = Browser(playwright, tmp_path_factory.mktemp("contract"))
    try:
        outcome: dict[str, str | None] = browser.open(f"{server.url}/contract.html").evaluate("results")
        assert browser.troubles == []
        return outcome
    finally:
        browser.close()


@pytest.mark.parametrize("clause", CLAUSES)
def test_indexeddb(clause: str, results: dict[str, str | None]) -> None:
    assert results[clause] is None, results[clause]


def test_every_clause_ran(results: dict[str, str | None]) -> None:
    assert sorted(results) == sorted(CLAUSES)
