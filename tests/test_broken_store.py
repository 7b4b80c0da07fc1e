"""A broken database ends the engine, which says why and leaves its runs as they are; a passing failure does not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from object_driver import FakeDatabase, FakeObjectDriver

from durably_wasm import Durably, Event, JobDefinition, StepContext, StoreError, define_job, with_log_persistence
from durably_wasm.stores import MemoryStore, SqliteStore
from durably_wasm.stores.indexeddb import IndexedDbStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import Engine, Intercept, Record, Settle

TABLES = ["runs", "payloads", "steps", "logs"]


class Steps:
    """A job whose second of three steps breaks the database."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.break_it: Callable[[], object] = lambda: None
        self.job: JobDefinition[Any, Any] = define_job("job", input=str, output=str, run=self._run)

    async def _run(self, step: StepContext, input: str) -> str:
        for name in ("one", "two", "three"):
            await step.run(name, self._work, f"{input}-{name}")
            step.log.info("a line")
        return input

    def _work(self, name: str) -> str:
        self.ran.append(name)
        if name.endswith("two"):
            self.break_it()
        return name


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def pass_time(settle: Settle, clock: FakeClock) -> Callable[[], Awaitable[None]]:
    async def a_minute() -> None:
        for _ in range(60):
            await settle()
            clock.advance(1_000)
        await settle()

    return a_minute


PassTime = Callable[[], Awaitable[None]]


def has_ended(durably: Durably) -> bool:
    return all(task.done() for task in durably._worker._running)


def ends(events: list[Event]) -> list[str]:
    return [event.type for event in events if event.type in ("run:fail", "run:complete", "step:fail")]


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute(statement)


def overwrite(file: Path) -> None:
    for part in file.parent.iterdir():
        part.write_bytes(b"not a database" * 1_000)


@pytest.mark.parametrize("table", TABLES)
async def test_a_table_that_is_dropped_ends_the_engine(
    engine: Engine, record: Record, steps: Steps, file: Path, pass_time: PassTime, table: str
) -> None:
    durably = engine(steps.job, store=SqliteStore(file)).use(with_log_persistence())
    steps.break_it = lambda: change(file, f"DROP TABLE {table}")
    await durably.migrate()
    events = record(durably)
    for label in "ab":
        await durably.jobs.job.trigger(label)
    durably.start()
    await pass_time()
    assert has_ended(durably) and durably.failure is not None
    assert durably.failure.is_final and f"no such table: {table}" in str(durably.failure)
    last = [event for event in events if event.type == "worker:error"][-1]
    assert f"no such table: {table}" in last.error
    if table in ("runs", "steps"):
        assert steps.ran == ["a-one", "a-two"] and ends(events) == []
    if table != "runs":
        with closing(sqlite3.connect(file)) as raw:
            statuses = [status for [status] in raw.execute("SELECT status FROM runs ORDER BY id")]
        assert "failed" not in statuses
    await durably.stop()
    await durably.store.close()


async def test_a_column_that_is_missing_ends_the_engine(
    engine: Engine, steps: Steps, file: Path, pass_time: PassTime
) -> None:
    durably = engine(steps.job, store=SqliteStore(file))
    steps.break_it = lambda: change(file, "ALTER TABLE steps RENAME COLUMN output TO result")
    await durably.init()
    await durably.jobs.job.trigger("a")
    await pass_time()
    assert has_ended(durably) and "output" in str(durably.failure)
    await durably.stop()
    await durably.store.close()


async def test_a_file_that_is_overwritten_ends_the_engine(
    engine: Engine, record: Record, steps: Steps, file: Path, pass_time: PassTime
) -> None:
    durably = engine(steps.job, store=SqliteStore(file))
    steps.break_it = lambda: overwrite(file)
    await durably.init()
    events = record(durably)
    await durably.jobs.job.trigger("a")
    await pass_time()
    assert has_ended(durably) and durably.failure is not None
    assert "is not a SQLite database" in str(durably.failure) or "is corrupt" in str(durably.failure)
    assert steps.ran == ["a-one", "a-two"] and ends(events) == []
    await durably.stop()
    await durably.store.close()


async def test_an_object_store_that_is_missing_ends_the_engine(
    engine: Engine, record: Record, steps: Steps, pass_time: PassTime
) -> None:
    database = FakeDatabase()
    durably = engine(steps.job, store=IndexedDbStore(FakeObjectDriver(database)))
    steps.break_it = lambda: database.contents.pop("steps")
    await durably.init()
    events = record(durably)
    await durably.jobs.job.trigger("a")
    await pass_time()
    assert has_ended(durably) and "no object store steps" in str(durably.failure)
    assert steps.ran == ["a-one", "a-two"] and ends(events) == []
    [run] = database.contents["runs"].values()
    assert run["status"] == "leased"
    await durably.stop()


@pytest.mark.parametrize(
    "call", ["claim_next", "persist_step", "complete_run", "renew_lease", "update_progress", "enqueue_many"]
)
async def test_a_final_error_of_any_call_ends_the_engine_at_once(
    engine: Engine, record: Record, intercept: Intercept, settle: Settle, clock: FakeClock, call: str
) -> None:
    gate = asyncio.Event()

    async def job(step: StepContext) -> None:
        await step.run("one", gate.wait)
        step.progress(1)

    async def broken() -> None:
        raise StoreError("the database is corrupt", is_final=True)

    store = intercept(MemoryStore())
    durably = engine(define_job("job", input=None, output=None, run=job), store=store)
    events = record(durably)
    store.before(call, broken)
    durably.start()
    for trigger in (durably.jobs.job.trigger, durably.jobs.job.batch_trigger):
        try:
            await trigger(*([[None]] if trigger == durably.jobs.job.batch_trigger else []))
        except StoreError as error:
            assert error.is_final
    await settle()
    if call == "renew_lease":
        clock.advance(5_000)
        await settle()
    gate.set()
    await settle()
    assert has_ended(durably) and str(durably.failure) == "the database is corrupt"
    assert "the database is corrupt" in {event.error for event in events if event.type == "worker:error"}
    with pytest.raises(StoreError, match="corrupt"):
        await durably.process_one()
    assert store.calls.count("claim_next") <= 1 + (call == "update_progress")
    await durably.stop()
