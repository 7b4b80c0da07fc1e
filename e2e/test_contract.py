"""The stores' contract on the real storage of each browser engine: the same clauses as on CPython."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.conftest import unless_here
from e2e.engines import STORES, Engine
from e2e.server import Server
from tests.contract import database_clauses, driver_clauses, store_clauses

SHARED = [*(f"store: {name}" for name in store_clauses()), *(f"database: {name}" for name in database_clauses())]
CLAUSES = {
    "indexeddb": [*SHARED, *(f"driver: {name}" for name in driver_clauses())],
    "sqlite": SHARED,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("engine", "store"),
    [
        pytest.param(engine, store, id=f"{engine.name}-{store}", marks=unless_here(engine))
        for engine, stores in STORES.items()
        for store in stores
    ],
)
def test_every_clause(
    engine: type[Engine],
    store: str,
    start: Callable[[type[Engine], Path], Engine],
    server: Server,
    tmp_path: Path,
    subtests: pytest.Subtests,
) -> None:
    browser = start(engine, tmp_path / "profile")
    try:
        browser.open(f"{server.url}/contract.html?store={store}")
        results = browser.evaluate("results")
    finally:
        browser.kill()

    assert isinstance(results, dict)
    assert sorted(results) == sorted(CLAUSES[store])
    for clause, failure in results.items():
        with subtests.test(clause):
            assert failure is None, failure
    assert browser.troubles == []
