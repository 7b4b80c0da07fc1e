"""A page's call that comes again gives its first outcome, changes nothing and tells nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from object_driver import FakeObjectDriver

from durably_wasm import ConflictError, Durably, NotFoundError, Run, StepContext, TriggerItem, define_job
from durably_wasm.stores import MemoryStore, SqliteStore, Store
from durably_wasm.stores.indexeddb import IndexedDbStore

if TYPE_CHECKING:
    from conftest import Engine, Record

Call = Callable[[Durably, Run], Awaitable[object]]

ID = "call-1"


@define_job("work")
async def work(step: StepContext) -> None: ...


CALLS: dict[str, Call] = {
    "trigger": lambda durably, run: durably.jobs.work.trigger_json(None, call_id=ID),
    "coalescing": lambda durably, run: durably.jobs.work.trigger_json(
        None, call_id=ID, concurrency_key="k", coalesce="skip"
    ),
    "batch": lambda durably, run: durably.jobs.work.batch_trigger_json([TriggerItem(None)] * 2, call_id=ID),
    "retrigger": lambda durably, run: durably.retrigger(run.id, call_id=ID),
    "delete": lambda durably, run: durably.delete_run(run.id, call_id=ID),
    "purge": lambda durably, run: durably.purge_runs(datetime(2100, 1, 1, tzinfo=UTC), call_id=ID),
}


@pytest.fixture(params=["memory", "indexeddb", "sqlite"])
async def durably(request: pytest.FixtureRequest, engine: Engine) -> AsyncIterator[Durably]:
    stores: dict[str, Callable[[], Store]] = {
        "memory": MemoryStore,
        "indexeddb": lambda: IndexedDbStore(FakeObjectDriver()),
        "sqlite": lambda: SqliteStore(":memory:"),
    }
    durably = engine(work, store=stores[request.param]())
    await durably.migrate()
    yield durably
    await durably.store.close()


async def ended(durably: Durably) -> Run:
    await durably.jobs.work.trigger()
    await durably.process_one()
    [run] = await durably.get_runs()
    return run


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_gives_its_first_outcome_and_tells_nothing(durably: Durably, record: Record, call: Call) -> None:
    run = await ended(durably)
    await durably.jobs.work.trigger(concurrency_key="k")  # for the one that coalesces
    first = await call(durably, run)
    events, runs = record(durably), await durably.get_runs()

    again = await call(durably, run)

    assert again == first
    assert events == []
    assert await durably.get_runs() == runs


async def test_a_cancellation_is_told_once(durably: Durably, record: Record) -> None:
    run = await durably.jobs.work.trigger()
    events = record(durably)

    await durably.cancel(run.id, call_id=ID)
    await durably.cancel(run.id, call_id=ID)

    assert [event.type for event in events] == ["run:cancel"]
    with pytest.raises(ConflictError, match="cancelled"):
        await durably.cancel(run.id, call_id="another")


async def test_a_death_is_told_once(durably: Durably, record: Record) -> None:
    run = await durably.jobs.work.trigger()
    events = record(durably)

    await durably.report_crash([run.id], "died", call_id=ID)
    await durably.report_crash([run.id], "died", call_id=ID)

    assert [event.type for event in events] == ["worker:error"]


async def test_what_was_retriggered_may_be_deleted_meanwhile(durably: Durably) -> None:
    run = await ended(durably)
    again = await durably.retrigger(run.id, call_id=ID)
    await durably.delete_run(run.id)

    assert await durably.retrigger(run.id, call_id=ID) == again
    with pytest.raises(NotFoundError):
        await durably.retrigger(run.id, call_id="another")


async def test_a_refused_cancellation_is_refused_again(durably: Durably) -> None:
    run = await ended(durably)
    for _ in range(2):
        with pytest.raises(ConflictError, match=f"Cannot cancel run {run.id}: it is completed"):
            await durably.cancel(run.id, call_id=ID)
