"""The stores' contract on the browser's real storage: the same clauses as on CPython."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from playwright.sync_api import Playwright

from e2e.browser import Browser
from e2e.server import Server
from tests.contract import database_clauses, driver_clauses, store_clauses

Results = dict[str, str | None]

SHARED = [*(f"store: {name}" for name in store_clauses()), *(f"database: {name}" for name in database_clauses())]
CLAUSES = {
    "indexeddb": [*SHARED, *(f"driver: {name}" for name in driver_clauses())],
    "sqlite": SHARED,
}


@pytest.fixture(scope="module")
def results(
    playwright: Playwright, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Results]:
    @cache
    def run_all(store: str) -> Results:
        browser = Browser(playwright, tmp_path_factory.mktemp("contract"))
        try:
            outcome: Results = browser.open(f"{server.url}/contract.html?store={store}").evaluate("results")
            assert browser.troubles == []
            return outcome
        finally:
            browser.close()

    return run_all


@pytest.mark.parametrize(("store", "clause"), [(store, clause) for store in CLAUSES for clause in CLAUSES[store]])
def test_clause(store: str, clause: str, results: Callable[[str], Results]) -> None:
    assert results(store)[clause] is None, results(store)[clause]


@pytest.mark.parametrize("store", CLAUSES)
def test_every_clause_ran(store: str, results: Callable[[str], Results]) -> None:
    assert sorted(results(store)) == sorted(CLAUSES[store])
