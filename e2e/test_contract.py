"""The stores' contract on the real storage of each browser engine: the same clauses as on CPython."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.conftest import unless_here
from e2e.engines import STORES, Engine
from e2e.server import Server
from tests.contract import database_clauses, driver_clauses, store_clauses

pytestmark = pytest.mark.timeout(300)  # the first test of a suite runs all its clauses

SHARED = [*(f"store: {name}" for name in store_clauses()), *(f"database: {name}" for name in database_clauses())]
CLAUSES = {
    "indexeddb": [*SHARED, *(f"driver: {name}" for name in driver_clauses())],
    "sqlite": SHARED,
}


@dataclass(frozen=True)
class Suite:
    """All clauses that apply to a store, in one browser."""

    engine: type[Engine]
    store: str

    def __str__(self) -> str:
        return f"{self.engine.name}-{self.store}"


SUITES = [Suite(engine, store) for engine, stores in STORES.items() for store in stores]


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest,
    start: Callable[[type[Engine], Path], Engine],
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str | None]:
    """What became of each clause of a suite: None, or the traceback of its failure."""
    suite: Suite = request.param
    browser = start(suite.engine, tmp_path_factory.mktemp("contract"))
    try:
        browser.open(f"{server.url}/contract.html?store={suite.store}")
        outcome = browser.evaluate("results")
        assert isinstance(outcome, dict)
    finally:
        browser.kill()
    assert browser.troubles == []
    return outcome


@pytest.mark.parametrize(
    ("results", "clause"),
    [
        pytest.param(suite, clause, id=f"{suite}-{clause}", marks=unless_here(suite.engine))
        for suite in SUITES
        for clause in CLAUSES[suite.store]
    ],
    indirect=["results"],
    scope="module",
)
def test_clause(clause: str, results: dict[str, str | None]) -> None:
    assert results[clause] is None, results[clause]


@pytest.mark.parametrize(
    ("results", "store"),
    [pytest.param(suite, suite.store, id=str(suite), marks=unless_here(suite.engine)) for suite in SUITES],
    indirect=["results"],
    scope="module",
)
def test_every_clause_ran(store: str, results: dict[str, str | None]) -> None:
    assert sorted(results) == sorted(CLAUSES[store])
