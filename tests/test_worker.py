"""The worker claims what is due, oldest first, in as many slots as it has, until it is stopped."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import Durably, Event, JobDefinition, StepContext, StoreError, define_job
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Record, Settle


def job_of(function: Callable[[StepContext, Any], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    """Make a job of any input."""
    return define_job("job", input=Any, output=Any, run=function)


@job_of
async def echo(step: StepContext, input: Any) -> Any:
    return input


async def fail() -> None:
    raise StoreError("disk full")


def of_type(events: list[Event], type: str) -> list[Any]:
    return [event for event in events if event.type == type]


async def statuses(durably: Durably) -> list[str]:
    """Return the status of every run, oldest first."""
    return [run.status for run in await durably.get_runs()][::-1]


class Gates:
    """A job that waits until the test opens its run's gate."""

    def __init__(self) -> None:
        self._gates: dict[str, asyncio.Event] = {}
        self.entered: list[str] = []
        self.job = job_of(self._run)

    async def _run(self, step: StepContext, name: str) -> str:
        self.entered.append(name)
        await self._gates.setdefault(name, asyncio.Event()).wait()
        return name

    def open(self, *names: str) -> None:
        for name in names:
            self._gates.setdefault(name, asyncio.Event()).set()


class TestSlots:
    async def test_are_as_many_as_asked_for_and_refill_at_once(
        self, engine: Engine, settle: Settle, at_once: AtOnce
    ) -> None:
        gates = Gates()
        durably = engine(gates.job, max_concurrent_runs=3, polling_interval_ms=60_000)
        await durably.init()
        for name in "abcde":
            await durably.jobs.job.trigger(name)
        await settle()
        assert gates.entered == ["a", "b", "c"]
        gates.open("b")
        await settle()
        assert gates.entered == ["a", "b", "c", "d"]
        gates.open("a", "c", "d", "e")
        await settle()
        assert await statuses(durably) == ["completed"] * 5
        await at_once(durably.stop())

    async def test_are_one_by_default_and_not_more_when_started_twice(
        self, engine: Engine, settle: Settle, at_once: AtOnce
    ) -> None:
        gates = Gates()
        durably = engine(gates.job)
        await durably.init()
        durably.start()
        await durably.init()
        for name in "ab":
            await durably.jobs.job.trigger(name)
        await settle()
        assert gates.entered == ["a"]
        gates.open("a", "b")
        await at_once(durably.stop())


class TestOrder:
    async def test_is_oldest_first(self, engine: Engine, clock: FakeClock, record: Record) -> None:
        durably = engine(echo)
        events = record(durably)
        for n in range(6):
            await durably.jobs.job.trigger(n)
            clock.advance(n % 2)  # some within one millisecond
        assert await durably.process_until_idle() == 6
        assert [event.input for event in of_type(events, "run:leased")] == [0, 1, 2, 3, 4, 5]

    async def test_is_that_of_all_jobs_together(self, engine: Engine, record: Record) -> None:
        other = define_job("other", input=Any, output=Any, run=echo.run)
        durably = engine(echo, other)
        events = record(durably)
        for n, name in enumerate(("job", "other", "job", "other")):
            await durably.jobs[name].trigger(n)
        await durably.process_until_idle()
        assert [event.input for event in of_type(events, "run:leased")] == [0, 1, 2, 3]

    async def test_passes_over_runs_of_jobs_that_are_not_registered(self, engine: Engine) -> None:
        other = define_job("other", input=Any, output=Any, run=echo.run)
        durably = engine(echo)
        await engine(other).jobs.other.trigger(1)
        await durably.jobs.job.trigger(2)
        assert await durably.process_until_idle() == 1
        assert await statuses(durably) == ["pending", "completed"]


class TestWakeUp:
    async def test_comes_with_the_registration_of_a_job(self, engine: Engine, settle: Settle, at_once: AtOnce) -> None:
        durably = engine(polling_interval_ms=60_000)
        await engine(echo).jobs.job.trigger(1)
        await durably.init()
        await settle()
        assert await statuses(durably) == ["pending"]
        durably.register({"job": echo})
        await settle()
        assert await statuses(durably) == ["completed"]
        await at_once(durably.stop())

    async def test_during_a_claim_is_not_missed(
        self, engine: Engine, settle: Settle, intercept: Intercept, at_once: AtOnce
    ) -> None:
        claiming = asyncio.Event()
        store = intercept(MemoryStore())
        store.after("claim_next", claiming.wait)
        durably = engine(echo, store=store, polling_interval_ms=60_000)
        await durably.init()
        await settle()
        await durably.jobs.job.trigger(1)  # while the claim that found nothing is still on its way
        claiming.set()
        await settle()
        assert await statuses(durably) == ["completed"]
        await at_once(durably.stop())

    async def test_comes_with_the_polling_interval_for_what_others_stored(
        self, engine: Engine, settle: Settle, clock: FakeClock, at_once: AtOnce
    ) -> None:
        durably, other = engine(echo, polling_interval_ms=2_000), engine(echo)
        await durably.init()
        await settle()
        for _ in range(2):
            run = await other.jobs.job.trigger(1)
            clock.advance(1_999)
            await settle()
            found = await durably.get_run(run.id)
            assert found is not None and found.status == "pending"
            clock.advance(1)
            await settle()
            found = await durably.get_run(run.id)
            assert found is not None and found.status == "completed"
        await at_once(durably.stop())

    async def test_without_work_polls_no_more_than_that(
        self, engine: Engine, settle: Settle, clock: FakeClock, intercept: Intercept, at_once: AtOnce
    ) -> None:
        store = intercept(MemoryStore())
        durably = engine(echo, store=store)
        await durably.init()
        for _ in range(5):
            await settle()
            clock.advance(1_000)
        await settle()
        assert store.calls.count("claim_next") == 6
        await at_once(durably.stop())

    async def test_is_when_it_looks_after_what_is_old_and_not_after_each_run(
        self, engine: Engine, settle: Settle, clock: FakeClock, intercept: Intercept, at_once: AtOnce
    ) -> None:
        store = intercept(MemoryStore())
        durably = engine(echo, store=store)
        await durably.init()
        await settle()
        assert store.calls.count("get_runs") == 1
        for _ in range(3):
            await durably.jobs.job.trigger(1)
            await settle()
        assert (store.calls.count("claim_next"), store.calls.count("get_runs")) == (7, 1)
        clock.advance(1_000)
        await settle()
        assert store.calls.count("get_runs") == 2
        await at_once(durably.stop())


class TestStop:
    async def test_waits_for_the_runs_in_flight_and_takes_on_no_other(self, engine: Engine, settle: Settle) -> None:
        gates = Gates()
        durably = engine(gates.job, max_concurrent_runs=2)
        await durably.init()
        for name in "abc":
            await durably.jobs.job.trigger(name)
        await settle()
        stopping = asyncio.create_task(durably.stop())
        await settle()
        gates.open("a")
        await settle()
        assert not stopping.done() and gates.entered == ["a", "b"]
        gates.open("b")
        await settle()
        assert stopping.done() and await statuses(durably) == ["completed", "completed", "pending"]

    async def test_ends_what_waits(self, engine: Engine, settle: Settle, intercept: Intercept, at_once: AtOnce) -> None:
        idle = engine(echo)
        await idle.init()
        await settle()
        await at_once(idle.stop())
        store = intercept(MemoryStore())
        store.before("claim_next", *[fail] * 9)
        failing = engine(echo, store=store)
        await failing.init()
        await settle()
        await at_once(failing.stop())

    async def test_may_come_first_or_twice_and_a_start_after_it(
        self, engine: Engine, settle: Settle, at_once: AtOnce
    ) -> None:
        durably = engine(echo)
        await at_once(durably.stop())
        for _ in range(2):
            durably.start()
            await durably.jobs.job.trigger(1)
            await settle()
            await at_once(durably.stop())
            await at_once(durably.stop())
        await durably.jobs.job.trigger(1)
        await settle()
        assert await statuses(durably) == ["completed", "completed", "pending"]

    async def test_may_be_called_by_a_listener(self, engine: Engine, settle: Settle) -> None:
        stopped: list[bool] = []

        async def stop(event: Event) -> None:
            await durably.stop()
            stopped.append(True)

        durably = engine(echo)
        durably.on("run:complete", stop)
        await durably.init()
        await durably.jobs.job.trigger(1)
        await settle()
        assert stopped == [True]


class TestContextManager:
    async def test_migrates_starts_stops_and_closes_the_store(
        self, engine: Engine, settle: Settle, intercept: Intercept
    ) -> None:
        store = intercept(MemoryStore())
        async with engine(echo, store=store) as durably:
            await durably.jobs.job.trigger(1)
            await settle()
            assert await statuses(durably) == ["completed"]
            assert store.calls[0] == "migrate" and "close" not in store.calls
        assert store.calls[-1] == "close" and store.calls.count("migrate") == 1

    async def test_is_the_only_one_to_close_the_store(self, engine: Engine, intercept: Intercept) -> None:
        store = intercept(MemoryStore())
        durably = engine(store=store)
        await durably.init()
        await durably.stop()
        assert "close" not in store.calls


class TestMigration:
    async def test_is_shared_by_all_who_ask(
        self, engine: Engine, settle: Settle, intercept: Intercept, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()
        store = intercept(MemoryStore())
        store.before("migrate", gate.wait)
        durably = engine(store=store)
        callers = [asyncio.create_task(durably.migrate()) for _ in range(3)]
        await settle()
        callers[0].cancel()  # the others still want it
        gate.set()
        await settle()
        assert [caller.cancelled() for caller in callers] == [True, False, False]
        await at_once(durably.migrate())
        assert store.calls == ["migrate"]

    async def test_that_failed_is_tried_again_and_starts_nothing(
        self, engine: Engine, settle: Settle, intercept: Intercept, at_once: AtOnce
    ) -> None:
        store = intercept(MemoryStore())
        store.before("migrate", fail)
        durably = engine(echo, store=store)
        with pytest.raises(StoreError, match="disk full"):
            await durably.init()
        await settle()
        assert store.calls == ["migrate"]
        await durably.init()
        await settle()
        assert store.calls[:3] == ["migrate", "migrate", "claim_next"]
        await at_once(durably.stop())


class TestProcessOne:
    async def test_says_whether_there_was_one(self, engine: Engine) -> None:
        durably = engine(echo)
        assert await durably.process_one() is False
        await durably.jobs.job.trigger(1)
        assert await durably.process_one() is True
        assert await durably.process_one() is False

    async def test_raises_what_the_claim_raises(self, engine: Engine, record: Record, intercept: Intercept) -> None:
        store = intercept(MemoryStore())
        store.before("claim_next", fail)
        durably = engine(echo, store=store)
        events = record(durably)
        with pytest.raises(StoreError, match="disk full"):
            await durably.process_one()
        assert events == []


class TestProcessUntilIdle:
    async def test_counts_the_runs_also_those_that_come_meanwhile(self, engine: Engine) -> None:
        @job_of
        async def countdown(step: StepContext, n: int) -> None:
            if n > 0:
                await durably.jobs.job.trigger(n - 1)

        durably = engine(countdown)
        await durably.jobs.job.trigger(3)
        assert await durably.process_until_idle() == 4
        assert await durably.process_until_idle() == 0

    async def test_stops_at_max_runs(self, engine: Engine) -> None:
        durably = engine(echo)
        for n in range(3):
            await durably.jobs.job.trigger(n)
        assert await durably.process_until_idle(max_runs=0) == 0
        assert await durably.process_until_idle(max_runs=2) == 2
        assert await statuses(durably) == ["completed", "completed", "pending"]
        assert await durably.process_until_idle(max_runs=2) == 1


class TestFailingClaim:
    @pytest.mark.parametrize("slots", [1, 3])
    async def test_is_tried_again_after_a_growing_pause_and_told_once_an_outage(
        self,
        engine: Engine,
        record: Record,
        settle: Settle,
        clock: FakeClock,
        intercept: Intercept,
        at_once: AtOnce,
        slots: int,
    ) -> None:
        out_of_order = True
        calls: list[int] = []

        async def perhaps_fail() -> None:
            calls.append(round(clock.now().timestamp() * 1000))
            if out_of_order:
                raise StoreError("disk full")

        store = intercept(MemoryStore())
        store.before("claim_next", *[perhaps_fail] * 1000)
        durably = engine(echo, store=store, max_concurrent_runs=slots)
        events = record(durably)
        await durably.init()
        for _ in range(400):
            await settle()
            clock.advance(100)
        instants = sorted(set(calls))
        pauses = [after - before for before, after in itertools.pairwise(instants)]
        assert pauses[:9] == [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]
        assert [(event.type, event.context, event.error, event.run_id) for event in events] == [  # type: ignore[attr-defined]
            ("worker:error", "claim", "disk full", None)
        ]
        await durably.jobs.job.trigger(1)
        out_of_order = False
        for _ in range(110):
            await settle()
            clock.advance(100)
        assert events[-1].type == "run:complete"
        out_of_order = True
        for _ in range(30):
            await settle()
            clock.advance(100)
        assert len(of_type(events, "worker:error")) == 2
        await at_once(durably.stop())

    async def test_of_any_kind_does_not_end_the_worker(
        self, engine: Engine, record: Record, settle: Settle, clock: FakeClock, intercept: Intercept, at_once: AtOnce
    ) -> None:
        async def fault() -> None:
            raise ZeroDivisionError

        store = intercept(MemoryStore())
        store.before("claim_next", fault)
        durably = engine(echo, store=store)
        events = record(durably)
        await durably.init()
        await settle()
        clock.advance(100)
        await durably.jobs.job.trigger(1)
        await settle()
        assert [(event.context, event.error) for event in of_type(events, "worker:error")] == [
            ("claim", "ZeroDivisionError")
        ]
        assert events[-1].type == "run:complete"
        await at_once(durably.stop())
