"""Every store keeps the contract (`contract/`), and so does the fake that stands for IndexedDB here.

In the browser, `e2e` runs the same clauses on the real databases.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from contract import Clause, database_clauses, driver_clauses, store_clauses
from contract.given import (
    ALL,
    LEASE_MS,
    NOW,
    after,
    checkpointed,
    claimed,
    claimed_again,
    enqueued,
    logged,
    new_run,
    raised,
)
from object_driver import FakeDatabase, FakeObjectDriver

from durably_wasm.errors import StoreError
from durably_wasm.stores import MemoryStore, SqliteStore, Store
from durably_wasm.stores.indexeddb import Decision, IndexedDbStore
from durably_wasm.stores.operations import Operation
from durably_wasm.stores.transactions import Found

OpenStore = Callable[[], Awaitable[Store]]

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite in memory": lambda folder: SqliteStore(":memory:"),
    "sqlite file": lambda folder: SqliteStore(folder / "runs.db"),
    "indexeddb": lambda folder: IndexedDbStore(FakeObjectDriver()),
}
DATABASES: dict[str, Callable[[Path], Callable[[], Store]]] = {
    "sqlite file": lambda folder: lambda: SqliteStore(folder / "runs.db"),
    "indexeddb": lambda folder: _indexeddb_on(FakeDatabase()),
}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = STORES[request.param](tmp_path)
    await store.migrate()
    yield store
    await store.close()


@pytest.fixture(params=DATABASES)
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenStore]:
    handle = DATABASES[request.param](tmp_path)
    opened: list[Store] = []

    async def open_one() -> Store:
        store = handle()
        await store.migrate()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.mark.parametrize("clause", store_clauses().values(), ids=store_clauses())
async def test_store(clause: Clause, store: Store) -> None:
    await clause(store)


@pytest.mark.parametrize("clause", database_clauses().values(), ids=database_clauses())
async def test_database(clause: Clause, open_store: OpenStore) -> None:
    await clause(open_store)


@pytest.mark.parametrize("clause", driver_clauses().values(), ids=driver_clauses())
async def test_driver(clause: Clause) -> None:
    driver = FakeObjectDriver()
    await driver.open()
    await clause(driver)


def test_every_module_of_the_contract_is_listed() -> None:
    names = [*store_clauses(), *database_clauses(), *driver_clauses()]
    modules = {file.stem for file in (Path(__file__).parent / "contract").glob("*.py")}
    assert {name.partition(":")[0] for name in names} == modules - {"__init__", "given"}


async def test_an_indexeddb_engine_stays_fenced_off_when_it_fails_to_advance_the_epoch() -> None:
    database = FakeDatabase()
    driver = RefusingDriver(database)
    superseded, present = IndexedDbStore(driver), IndexedDbStore(FakeObjectDriver(database))
    for store in (superseded, present):
        await store.migrate()
        await store.advance_epoch()
    driver.refuses = True
    await raised(StoreError, superseded.advance_epoch())
    driver.refuses = False
    await raised(StoreError, superseded.enqueue(new_run(), NOW))
    assert await present.get_runs(ALL) == []


class RefusingDriver(FakeObjectDriver):
    """A database that refuses transactions when it is told to."""

    refuses = False

    async def transact(self, reads: list[Operation], decide: Callable[[Found], Decision]) -> None:
        if self.refuses:
            raise StoreError("The database refused")
        await super().transact(reads, decide)


class CountingDriver(FakeObjectDriver):
    """Tells what was read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.records_read = 0
        self.writes: list[Any] = []

    def forget(self) -> None:
        self.records_read, self.writes = 0, []

    async def transact(self, reads: list[Operation], decide: Callable[[Found], Decision]) -> None:
        def counting(found: Found) -> Decision:
            self.records_read += sum(len(each) if isinstance(each, list) else 1 for each in found)
            decision = decide(found)
            self.writes += decision.get("writes", [])
            return decision

        await super().transact(reads, counting)


async def test_a_checkpoint_in_indexeddb_touches_the_runs_row_and_the_steps_alone() -> None:
    driver = CountingDriver()
    store = IndexedDbStore(driver)
    await store.migrate()
    run = await claimed(store, input="x" * 100_000)
    for n in range(10):
        await checkpointed(store, run, name=f"step-{n}", index=n, output="y" * 100_000)
    driver.forget()
    await checkpointed(store, run, name="the next", index=10, output="z")
    assert driver.records_read == 2
    assert [write["store"] for write in driver.writes] == ["runs", "steps"]
    assert len(str(driver.writes)) < 2_000


async def test_a_claim_in_indexeddb_reads_the_same_however_long_the_backlog_and_the_history() -> None:
    driver = CountingDriver()
    store = IndexedDbStore(driver)
    await store.migrate()
    prices = []
    for more in (20, 200):
        for n in range(more):
            await enqueued(store, job_name=("import", "export")[n % 2], now=after(n))
            await store.cancel_run((await enqueued(store, job_name="import")).id, NOW)
        driver.forget()
        run = await store.claim_next("worker-1", after(1_000), LEASE_MS, jobs=["import"])
        assert run is not None
        prices.append(driver.records_read)
        assert await store.complete_run(run.id, run.lease_generation, None, after(1_001))
    assert prices[0] == prices[1] < 20


async def test_a_deleted_run_leaves_nothing_behind_in_indexeddb() -> None:
    database = FakeDatabase()
    store = IndexedDbStore(FakeObjectDriver(database))
    await store.migrate()
    for delete in (lambda run: store.delete_run(run.id), lambda run: store.purge_runs(after(1_000), 10)):
        run = await claimed(store, input=[1], idempotency_key="order-1")
        await checkpointed(store, run)
        await logged(store, run)
        await store.record_crash([run.id], "a trap", NOW)
        run = await claimed_again(store, run)
        assert await store.complete_run(run.id, run.lease_generation, [2], NOW, keep_steps=True)
        assert len([name for name, records in database.contents.items() if records]) == 6
        await delete(run)
        assert not any(database.contents.values()), database.contents


def _indexeddb_on(database: FakeDatabase) -> Callable[[], Store]:
    return lambda: IndexedDbStore(FakeObjectDriver(database))
