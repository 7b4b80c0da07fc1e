"""A store without room fails no run and repeats no step: what is kept long enough goes, and what needs room waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import Durably, Event, JobDefinition, StepContext, StoreError, define_job
from durably_wasm.models import NewRun, Run
from durably_wasm.stores import MemoryStore, SqliteStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import Engine, Intercept, Record, Settle

MINUTE = 60_000
READS = {"migrate", "close", "get_run", "get_runs", "get_steps", "get_logs", "purge_runs"}


class LimitedStore:
    """The store that it wraps, but for what needs room while there is none."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.missing: float = 0
        self._store = MemoryStore()

    def fill(self, missing: float = float("inf")) -> None:
        """Leave no room, until that many runs are purged."""
        self.missing = missing

    async def purge_runs(self, *args: Any, **kwargs: Any) -> int:
        purged = await self._store.purge_runs(*args, **kwargs)
        self.missing -= purged
        return purged

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method = getattr(self._store, name)

        async def call(*args: object, **kwargs: object) -> object:
            self.calls.append(name)
            if self.missing > 0 and name not in READS:
                raise StoreError("no room left", is_full=True)
            return await method(*args, **kwargs)

        return call


class Steps:
    """A job of three steps, of which the second waits for the test."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.gate = asyncio.Event()
        self.job: JobDefinition[Any, Any] = define_job("job", input=str, output=str, run=self._run)

    async def _run(self, step: StepContext, input: str) -> str:
        for name in ("one", "two", "three"):
            await step.run(name, self._work, f"{input}-{name}")
        return input

    async def _work(self, name: str) -> None:
        self.ran.append(name)
        if name.endswith("two"):
            await self.gate.wait()


@pytest.fixture
def limited() -> LimitedStore:
    return LimitedStore()


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def pass_time(settle: Settle, clock: FakeClock) -> Callable[[int], Awaitable[None]]:
    """Let time go by in small steps, so that whoever waits does so at its own instant."""

    async def until(ms: int) -> None:
        for _ in range(0, ms, 100):
            await settle()
            clock.advance(100)
        await settle()

    return until


PassTime = Callable[[int], Awaitable[None]]


def outages(events: list[Event]) -> list[Any]:
    return [event for event in events if event.type == "worker:error" and event.context == "store"]


async def statuses(durably: Durably) -> list[str]:
    """Return the status of every run, oldest first."""
    return [run.status for run in await durably.get_runs()][::-1]


class TestRunInExecution:
    async def test_waits_leased_and_goes_on_when_there_is_room(
        self, engine: Engine, record: Record, limited: LimitedStore, steps: Steps, pass_time: PassTime
    ) -> None:
        durably = engine(steps.job, store=limited, lease_renew_interval_ms=MINUTE)
        events = record(durably)
        await durably.jobs.job.trigger("a")
        durably.start()
        await pass_time(100)
        limited.fill()
        steps.gate.set()
        await pass_time(20_000)
        assert await statuses(durably) == ["leased"] and steps.ran == ["a-one", "a-two"]
        limited.fill(0)
        await pass_time(10_000)
        await durably.stop()
        assert await statuses(durably) == ["completed"] and steps.ran == ["a-one", "a-two", "a-three"]
        [error] = outages(events)
        assert error.error == "no room left" and error.run_id is not None

    async def test_tells_of_no_lease_that_cannot_be_renewed_meanwhile(
        self, engine: Engine, record: Record, limited: LimitedStore, steps: Steps, pass_time: PassTime
    ) -> None:
        durably = engine(steps.job, store=limited)
        events = record(durably)
        await durably.jobs.job.trigger("a")
        durably.start()
        await pass_time(100)
        limited.fill()
        steps.gate.set()
        await pass_time(20_000)
        assert limited.calls.count("renew_lease") > 2
        limited.fill(0)
        await pass_time(10_000)
        await durably.stop()
        assert [event.context for event in events if event.type == "worker:error"] == ["store"]

    async def test_keeps_its_steps_when_the_engine_dies_meanwhile(
        self, engine: Engine, limited: LimitedStore, steps: Steps, pass_time: PassTime, clock: FakeClock
    ) -> None:
        durably = engine(steps.job, store=limited)
        await durably.jobs.job.trigger("a")
        task = asyncio.create_task(durably.process_one())
        await pass_time(100)
        limited.fill()
        steps.gate.set()
        await pass_time(1_000)
        task.cancel()
        await pass_time(100)
        assert task.cancelled() and await statuses(durably) == ["leased"]
        limited.fill(0)
        clock.advance(30_000)
        assert await durably.process_one()
        assert await statuses(durably) == ["completed"]
        assert steps.ran == ["a-one", "a-two", "a-two", "a-three"]

    async def test_holds_up_other_claims(
        self, engine: Engine, limited: LimitedStore, steps: Steps, pass_time: PassTime
    ) -> None:
        durably = engine(steps.job, store=limited, max_concurrent_runs=3, lease_renew_interval_ms=10 * MINUTE)
        await durably.jobs.job.trigger("a")
        durably.start()
        await pass_time(100)
        limited.fill()
        steps.gate.set()
        await pass_time(1_000)
        limited.calls.clear()
        await pass_time(5_000)
        assert "claim_next" not in limited.calls and "get_runs" not in limited.calls
        limited.fill(0)
        await pass_time(10_000)
        await durably.jobs.job.trigger("b")
        await pass_time(1_000)
        await durably.stop()
        assert await statuses(durably) == ["completed", "completed"]

    async def test_needs_no_more_than_what_retention_allows(
        self, engine: Engine, record: Record, limited: LimitedStore, steps: Steps, pass_time: PassTime, clock: FakeClock
    ) -> None:
        durably = engine(steps.job, store=limited, retain_runs="1m", polling_interval_ms=10 * MINUTE)
        steps.gate.set()
        for number in range(250):
            await durably.jobs.job.trigger(str(number))
        await durably.process_until_idle()
        clock.advance(2 * MINUTE)
        steps.gate.clear()
        await durably.jobs.job.trigger("last")
        task = asyncio.create_task(durably.process_one())
        await pass_time(0)
        events = record(durably)
        limited.fill(150)
        steps.gate.set()
        await pass_time(0)
        assert task.done() and outages(events) == []
        assert len(await durably.get_runs()) == 51, "no more are purged than there is need for"


class TestClaim:
    async def test_is_retried_until_there_is_room_and_told_as_an_outage(
        self, engine: Engine, record: Record, limited: LimitedStore, steps: Steps, pass_time: PassTime
    ) -> None:
        durably = engine(steps.job, store=limited)
        events = record(durably)
        steps.gate.set()
        await durably.jobs.job.trigger("a")
        limited.fill()
        durably.start()
        await pass_time(20_000)
        assert await statuses(durably) == ["pending"] and len(outages(events)) == 1
        assert durably.failure is None
        limited.fill(0)
        await pass_time(10_000)
        await durably.stop()
        assert await statuses(durably) == ["completed"]

    async def test_makes_room(
        self, engine: Engine, limited: LimitedStore, steps: Steps, clock: FakeClock, pass_time: PassTime
    ) -> None:
        durably = engine(steps.job, store=limited, retain_runs="1m")
        steps.gate.set()
        await durably.jobs.job.trigger("a")
        await durably.process_one()
        clock.advance(2 * MINUTE)
        await durably.jobs.job.trigger("b")
        limited.fill(1)
        assert await durably.process_one()
        assert await statuses(durably) == ["completed"]


class TestCall:
    """What a page asks for."""

    async def test_raises_when_there_is_nothing_to_purge(
        self, engine: Engine, limited: LimitedStore, steps: Steps
    ) -> None:
        durably = engine(steps.job, store=limited, retain_runs="1m")
        limited.fill()
        with pytest.raises(StoreError, match="no room left") as raised:
            await durably.jobs.job.trigger("a")
        assert raised.value.is_full

    @pytest.mark.parametrize(
        ("call", "left"),
        [
            (lambda durably, run: durably.jobs.job.trigger("c"), ["pending", "pending"]),
            (lambda durably, run: durably.cancel(run.id), ["cancelled"]),
            (lambda durably, run: durably.report_crash([run.id], "died"), ["pending"]),
        ],
        ids=["trigger", "cancel", "report_crash"],
    )
    async def test_makes_room(
        self,
        engine: Engine,
        limited: LimitedStore,
        steps: Steps,
        clock: FakeClock,
        call: Callable[[Durably, Run[Any, Any]], Awaitable[object]],
        left: list[str],
    ) -> None:
        durably = engine(steps.job, store=limited, retain_runs="1m")
        steps.gate.set()
        await durably.jobs.job.trigger("a")
        await durably.process_one()
        clock.advance(2 * MINUTE)
        run = await durably.jobs.job.trigger("b")
        limited.fill(1)
        await call(durably, run)
        assert await statuses(durably) == left


class TestAnotherRefusal:
    async def test_purges_nothing(self, engine: Engine, steps: Steps, clock: FakeClock, intercept: Intercept) -> None:
        store = intercept(MemoryStore())
        durably = engine(steps.job, store=store, retain_runs="1m")
        steps.gate.set()
        await durably.jobs.job.trigger("a")
        await durably.process_one()
        clock.advance(2 * MINUTE)
        store.before("enqueue_many", out_of_order)
        with pytest.raises(StoreError, match="connection lost"):
            await durably.jobs.job.trigger("b")
        assert await statuses(durably) == ["completed"]


async def out_of_order() -> None:
    raise StoreError("connection lost")


async def test_sqlite_says_when_it_is_full(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "full.db")
    await store.migrate()
    [[pages]] = store._db.run("PRAGMA page_count", {})
    store._db.run(f"PRAGMA max_page_count = {pages}", {})
    with pytest.raises(StoreError, match="has no room left") as raised:
        await store.enqueue(NewRun("job", "x" * 100_000), "2026-01-01T00:00:00.000Z")
    assert raised.value.is_full and not raised.value.is_final
    await store.close()
