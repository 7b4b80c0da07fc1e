"""An engine that is told how the one before it died: it tells it on, and ends what is in a loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from contract.given import checkpointed
from object_driver import FakeObjectDriver

from durably_wasm import JobDefinition, StepContext, define_job
from durably_wasm.events import WorkerError
from durably_wasm.stores import MemoryStore
from durably_wasm.stores.indexeddb import IndexedDbStore

if TYPE_CHECKING:
    from conftest import Engine, Record, Settle

REASON = "RuntimeError: unreachable"
LEASE_MS = 30_000


def deadly() -> JobDefinition[Any, Any]:
    async def job(step: StepContext) -> None:
        await step.run("deadly", asyncio.Event().wait)

    return define_job("deadly", input=None, output=None, run=job)


async def leased(store: MemoryStore, durably: Any) -> str:
    """A run that an engine which is dead by now has leased."""
    run = await durably.jobs["deadly"].trigger()
    assert await store.claim_next("lock-1-a", run.created_at, LEASE_MS) is not None
    return str(run.id)


async def test_each_death_is_told(engine: Engine, store: MemoryStore, record: Record) -> None:
    durably = engine(deadly())
    run_ids = [await leased(store, durably) for _ in range(2)]
    events = record(durably)

    for died in (run_ids, run_ids[:1], []):
        await durably.report_crash(died, REASON)

    told = [(event.error, event.context, event.run_id) for event in events if isinstance(event, WorkerError)]
    assert told == [(REASON, "crash", run_id) for run_id in (None, run_ids[0], None)]
    assert len(events) == len(told)
    assert [run.status for run in await durably.get_runs()] == ["leased"] * 2


async def test_a_crash_loop_is_told_as_a_failure(engine: Engine, store: MemoryStore, record: Record) -> None:
    durably = engine(deadly())
    run_id = await leased(store, durably)
    events = record(durably)

    for _ in range(3):
        await durably.report_crash([run_id], REASON)

    assert [event.type for event in events] == [*["worker:error"] * 3, "run:fail"]
    failed: Any = events[-1]
    assert (failed.run_id, failed.job_name, failed.error) == (run_id, "deadly", f"crash loop: {REASON}")
    assert failed.failed_step_name == "unknown"
    run = await durably.get_run(run_id)
    assert run is not None and (run.status, run.error, run.error_type) == ("failed", failed.error, "CrashLoop")


async def test_a_report_that_comes_late_stops_what_has_begun(engine: Engine, record: Record, settle: Settle) -> None:
    durably = engine(deadly())
    run = await durably.jobs["deadly"].trigger()
    executing = asyncio.create_task(durably.process_one())
    await settle()
    events = record(durably)

    for _ in range(3):
        await durably.report_crash([run.id], REASON)
    await settle()

    assert executing.done()
    assert [event.type for event in events] == [*["worker:error"] * 3, "run:fail", "step:cancel"]


async def test_the_steps_of_a_crash_loop_are_kept_where_steps_are(engine: Engine, store: MemoryStore) -> None:
    for preserve_steps in (False, True):
        durably = engine(deadly(), preserve_steps=preserve_steps)
        run_id = await leased(store, durably)
        claimed = await store.get_run(run_id)
        assert claimed is not None
        await checkpointed(store, claimed)
        for _ in range(3):
            await durably.report_crash([run_id], REASON)
        assert len(await store.get_steps(run_id)) == preserve_steps


class TestSuspects:
    """After a death one run is executed at a time, until those that were leased then have got on."""

    async def test_are_executed_alone_until_they_have_completed_a_step(
        self, engine: Engine, record: Record, settle: Settle
    ) -> None:
        gates = Gates()
        store = IndexedDbStore(FakeObjectDriver())  # whose claims take their time
        durably = engine(gated(gates), store=store, max_concurrent_runs=3)
        await durably.migrate()
        events = record(durably)
        first, second, third = [(await durably.jobs["gated"].trigger(number)).id for number in range(3)]

        await durably.report_crash([first, second], REASON)
        durably.start()
        await settle()
        assert leases(events) == [first]

        gates[0, "one"].set()
        await settle()
        assert leases(events) == [first], "the second is suspected still, and not alone"

        gates[0, "two"].set()
        await settle()
        assert leases(events) == [first, second]

        gates[1, "one"].set()
        await settle()
        assert leases(events) == [first, second, third]
        await end(durably, gates)

    async def test_are_so_no_more_when_they_are_cancelled(self, engine: Engine, record: Record, settle: Settle) -> None:
        gates = Gates()
        durably = engine(gated(gates), max_concurrent_runs=3)
        events = record(durably)
        runs = [(await durably.jobs["gated"].trigger(number)).id for number in range(4)]
        await durably.report_crash([runs[0], runs[3]], REASON)
        durably.start()
        await settle()
        assert leases(events) == runs[:1]

        await durably.cancel(runs[3])
        gates[0, "one"].set()
        await settle()

        assert leases(events) == runs[:3]
        await end(durably, gates)

    async def test_are_so_no_more_when_they_have_ended(self, engine: Engine, record: Record, settle: Settle) -> None:
        gates = Gates()
        durably = engine(stepless(), gated(gates), max_concurrent_runs=3)
        events = record(durably)
        suspect = (await durably.jobs["stepless"].trigger()).id
        runs = [(await durably.jobs["gated"].trigger(number)).id for number in range(2)]
        await durably.report_crash([suspect], REASON)
        durably.start()
        await settle()

        assert leases(events) == [suspect, *runs]
        await end(durably, gates)

    async def test_are_not_waited_for_when_they_are_not_due(
        self, engine: Engine, record: Record, settle: Settle
    ) -> None:
        gates = Gates()
        durably = engine(gated(gates), max_concurrent_runs=2)
        events = record(durably)
        await durably.report_crash(["deleted meanwhile"], REASON)
        durably.start()
        await settle()
        runs = [(await durably.jobs["gated"].trigger(number)).id for number in range(2)]
        await settle()

        assert leases(events) == runs
        await end(durably, gates)


class Gates(defaultdict[tuple[int, str], asyncio.Event]):
    """What the steps of some runs wait for."""

    def __init__(self) -> None:
        super().__init__(asyncio.Event)


def gated(gates: Gates) -> JobDefinition[Any, Any]:
    async def job(step: StepContext, number: int) -> None:
        for name in ("one", "two"):
            await step.run(name, gates[number, name].wait)

    return define_job("gated", input=int, output=None, run=job)


def stepless() -> JobDefinition[Any, Any]:
    async def job(step: StepContext) -> None:
        await asyncio.sleep(0)

    return define_job("stepless", input=None, output=None, run=job)


async def end(durably: Any, gates: Gates) -> None:
    for number in range(4):
        for name in ("one", "two"):
            gates[number, name].set()
    await durably.stop()


def leases(events: list[Any]) -> list[str]:
    return [event.run_id for event in events if event.type == "run:leased"]
