"""An engine whose store is another's, or gone, ends: it neither claims nor goes on, and says why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from object_driver import FakeDatabase, FakeObjectDriver

from durably_wasm import Durably, Event, StepContext, StoreError, define_job
from durably_wasm.stores import MemoryStore, SqliteStore
from durably_wasm.stores.indexeddb import IndexedDbStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Engine, Intercept, Record, Settle

OVER = "Epoch 1 is over: another engine holds the database's lock since"


@define_job("echo")
async def echo(step: StepContext, input: str) -> str:
    return await step.run("one", lambda: input)


class Waiting:
    """A job that waits in its first step until the test lets it go on."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.ran: list[str] = []
        self.job = define_job("waiting", input=None, output=Any, run=self._run)

    async def _run(self, step: StepContext) -> None:
        for name in ("one", "two"):
            await step.run(name, self._work, name)

    async def _work(self, name: str) -> None:
        self.ran.append(name)
        await self.gate.wait()


async def final() -> None:
    raise StoreError("the database is gone", is_final=True)


async def passing() -> None:
    raise StoreError("out of order")


def errors(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.context, event.error) for event in events if event.type == "worker:error"]


def has_ended(durably: Durably) -> bool:
    return all(task.done() for task in durably._worker._running)


async def test_superseded_by_another_ends_at_its_next_claim(
    engine: Engine, record: Record, settle: Settle, clock: FakeClock, tmp_path: Path
) -> None:
    path = tmp_path / "shared.db"
    old = engine(echo, store=SqliteStore(path), exclusive=True, max_concurrent_runs=3)
    events = record(old)
    await old.init()
    await settle()
    assert old.failure is None and not has_ended(old)
    new = engine(echo, store=SqliteStore(path), exclusive=True)
    await new.init()
    clock.advance(1_000)
    await settle()
    assert has_ended(old) and not has_ended(new)
    assert isinstance(old.failure, StoreError) and str(old.failure) == OVER
    assert errors(events) == [("claim", OVER)]
    with pytest.raises(StoreError, match="is over"):
        await old.jobs.echo.trigger("late")
    run = await new.jobs.echo.trigger("mine")
    assert (await new.wait_for_run(run.id)).output == "mine"
    for durably in (old, new):
        await durably.stop()
        await durably.store.close()


async def test_of_an_emptied_database_ends_and_writes_nothing_into_it(
    engine: Engine, settle: Settle, clock: FakeClock
) -> None:
    database = FakeDatabase()
    durably = engine(echo, store=IndexedDbStore(FakeObjectDriver(database)), exclusive=True)
    await durably.init()
    await settle()
    for records in database.contents.values():
        records.clear()
    clock.advance(1_000)
    await settle()
    assert has_ended(durably) and str(durably.failure) == "Epoch 1 is over: the database was emptied since"
    with pytest.raises(StoreError, match="was emptied"):
        await durably.jobs.echo.trigger("late")
    assert not any(database.contents.values())
    await durably.stop()


async def test_a_run_in_execution_is_left_to_the_next_engine(
    engine: Engine, record: Record, settle: Settle, tmp_path: Path
) -> None:
    path, waiting = tmp_path / "shared.db", Waiting()
    old = engine(waiting.job, store=SqliteStore(path), exclusive=True)
    events = record(old)
    await old.init()
    run = await old.jobs.waiting.trigger()
    await settle()
    new = engine(waiting.job, store=SqliteStore(path), exclusive=True)
    await new.migrate()
    waiting.gate.set()
    await settle()
    assert has_ended(old) and waiting.ran == ["one"]
    assert errors(events) == [("store", OVER), ("claim", OVER)]
    assert not [event for event in events if event.type in ("step:complete", "run:complete", "run:fail")]
    await new.process_one()
    ended = await new.get_run(run.id)
    assert ended is not None and (ended.status, ended.lease_generation) == ("completed", 2)
    for durably in (old, new):
        await durably.stop()
        await durably.store.close()


async def test_a_job_that_waits_is_stopped_by_the_next_renewal(
    engine: Engine, record: Record, intercept: Intercept, settle: Settle, clock: FakeClock
) -> None:
    waiting, store = Waiting(), intercept(MemoryStore())
    durably = engine(waiting.job, store=store)
    events = record(durably)
    await durably.jobs.waiting.trigger()
    durably.start()
    await settle()
    for call in ("renew_lease", "claim_next"):
        store.before(call, final)
    clock.advance(5_000)
    await settle()
    assert has_ended(durably) and str(durably.failure) == "the database is gone"
    assert [context for context, _ in errors(events)] == ["lease-renewal", "claim"]
    await durably.stop()


async def test_an_outage_that_turns_out_final_is_told_as_such(
    engine: Engine, record: Record, intercept: Intercept, settle: Settle, clock: FakeClock
) -> None:
    store = intercept(MemoryStore())
    durably = engine(echo, store=store)
    events = record(durably)
    await durably.jobs.echo.trigger("a")
    store.before("persist_step", passing, passing, final)
    durably.start()
    for _ in range(5):
        await settle()
        clock.advance(1_000)
    await settle()
    assert has_ended(durably) and store.calls.count("claim_next") == 1, "what it claims it could not execute"
    assert errors(events) == [
        ("store", "out of order"),
        ("store", "the database is gone"),
        ("claim", "the database is gone"),
    ]
    await durably.stop()
