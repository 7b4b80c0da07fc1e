"""A store that is out of order for a while fails no run, repeats no step and ends nothing twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import Durably, Event, JobDefinition, Run, StepContext, StoreError, define_job
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Interrupt, Record, Settle


def job_of(function: Callable[[StepContext], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    """Make a job without input."""
    return define_job("job", input=None, output=Any, run=function)


async def fail() -> None:
    raise StoreError("disk full")


async def found(durably: Durably, run_id: str) -> Run:
    run = await durably.get_run(run_id)
    assert run is not None
    return run


def of_type(events: list[Event], *types: str) -> list[Any]:
    return [event for event in events if event.type in types]


@pytest.fixture
def pass_time(settle: Settle, clock: FakeClock) -> Callable[[int], Awaitable[None]]:
    """Let time go by in small steps, so that whoever waits does so at its own instant."""

    async def until(ms: int) -> None:
        for _ in range(0, ms, 100):
            await settle()
            clock.advance(min(ms, 100))
        await settle()

    return until


class TestOutage:
    @pytest.mark.parametrize("times", [1, 3])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("call", ["persist_step", "complete_run", "fail_run", "get_steps"])
    async def test_is_waited_for_and_told_once(
        self,
        engine: Engine,
        record: Record,
        intercept: Intercept,
        interrupt: Interrupt,
        pass_time: Callable[[int], Awaitable[None]],
        call: str,
        when: str,
        times: int,
    ) -> None:
        calls: list[str] = []
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> str:
            await step.run("one", calls.append, "one")
            await gate.wait()
            await step.run("two", calls.append, "two")
            await step.run("three", calls.append, "three")
            if call == "fail_run":
                raise ValueError("a job's own")
            return "done"

        store = intercept(MemoryStore())
        durably = engine(job, store=store)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        gate.set()
        getattr(store, when)(call, *[fail] * times)
        events = record(durably)
        task = asyncio.create_task(durably.process_one())
        await pass_time(50)
        assert not task.done() and (await found(durably, run.id)).status in (
            ("completed", "failed") if when == "after" and call in ("complete_run", "fail_run") else ("leased",)
        )
        await pass_time(2_000)
        assert task.done() and await task is True
        ended = await found(durably, run.id)
        end = ("failed", None, "a job's own") if call == "fail_run" else ("completed", "done", None)
        assert (ended.status, ended.output, ended.error) == end
        assert (ended.lease_generation, ended.completed_step_count) == (2, 3)
        assert calls == ["one", "two", "three"]
        completed = [(event.step_name, event.step_index) for event in of_type(events, "step:complete")]
        assert completed == [("two", 1), ("three", 2)]
        assert len(of_type(events, "run:complete", "run:fail")) == 1
        [error] = of_type(events, "worker:error")
        assert (error.error, error.context, error.run_id) == ("disk full", "store", run.id)

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_at_the_checkpoint_of_a_failed_step_keeps_its_failure(
        self,
        engine: Engine,
        record: Record,
        intercept: Intercept,
        pass_time: Callable[[int], Awaitable[None]],
        when: str,
    ) -> None:
        caught: list[str] = []

        def failing() -> None:
            raise ValueError("a step's own")

        @job_of
        async def job(step: StepContext) -> None:
            try:
                await step.run("failing", failing)
            except ValueError as error:
                caught.append(str(error))

        store = intercept(MemoryStore())
        getattr(store, when)("persist_step", fail)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await pass_time(200)
        assert task.done() and (await found(durably, run.id)).status == "completed"
        assert caught == ["a step's own"] and len(of_type(events, "step:fail")) == 1

    async def test_is_probed_with_growing_pauses(
        self,
        engine: Engine,
        record: Record,
        intercept: Intercept,
        clock: FakeClock,
        pass_time: Callable[[int], Awaitable[None]],
    ) -> None:
        instants: list[int] = []

        async def note_and_fail() -> None:
            instants.append(round(clock.now().timestamp() * 1000))
            raise StoreError("disk full")

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", int)

        store = intercept(MemoryStore())
        store.before("persist_step", *[note_and_fail] * 10)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await pass_time(50_000)
        pauses = [after - before for before, after in itertools.pairwise(instants)]
        assert pauses == [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]
        assert task.done() and (await found(durably, run.id)).status == "completed"
        assert len(of_type(events, "worker:error")) == 1

    async def test_after_another_is_told_again(
        self, engine: Engine, record: Record, intercept: Intercept, pass_time: Callable[[int], Awaitable[None]]
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", int)
            store.before("persist_step", fail)
            await step.run("two", int)

        store = intercept(MemoryStore())
        store.before("persist_step", fail)
        durably = engine(job, store=store)
        events = record(durably)
        await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await pass_time(300)
        assert task.done() and len(of_type(events, "worker:error")) == 2

    async def test_is_told_once_for_all_the_steps_that_meet_it(
        self, engine: Engine, record: Record, intercept: Intercept, pass_time: Callable[[int], Awaitable[None]]
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await asyncio.gather(*(step.run(name, int) for name in "abc"))

        store = intercept(MemoryStore())
        store.before("persist_step", *[fail] * 6)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await pass_time(1_000)
        assert task.done() and (await found(durably, run.id)).status == "completed"
        assert len(of_type(events, "step:complete")) == 3
        assert len(of_type(events, "worker:error")) == 1


class TestEndThatWasAppliedThoughItRaised:
    async def test_is_told_even_when_a_renewal_sees_it_first(
        self, engine: Engine, record: Record, intercept: Intercept, pass_time: Callable[[int], Awaitable[None]]
    ) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            return "done"

        store = intercept(MemoryStore())
        store.after("complete_run", fail)
        durably = engine(job, store=store, lease_renew_interval_ms=100)
        events = record(durably)
        await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await pass_time(500)
        assert task.done()
        assert [event.type for event in of_type(events, "run:complete", "run:fail")] == ["run:complete"]
        assert [event.context for event in of_type(events, "worker:error")] == ["store"]


class TestMeanwhile:
    async def test_a_cancellation_is_obeyed(
        self, engine: Engine, record: Record, intercept: Intercept, pass_time: Callable[[int], Awaitable[None]]
    ) -> None:
        calls: list[str] = []

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", calls.append, "one")
            await step.run("two", calls.append, "two")

        store = intercept(MemoryStore())
        store.before("persist_step", *[fail] * 20)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await pass_time(1_000)
        await durably.cancel(run.id)
        await pass_time(11_000)
        assert task.done() and (await found(durably, run.id)).status == "cancelled"
        assert calls == ["one"]
        assert [event.type for event in of_type(events, "step:cancel", "step:fail", "run:fail", "run:cancel")] == [
            "run:cancel",
            "step:cancel",
        ]

    @pytest.mark.parametrize("call", ["persist_step", "complete_run"])
    async def test_a_worker_that_is_cancelled_ends_without_waiting_for_the_store(
        self, engine: Engine, intercept: Intercept, settle: Settle, call: str
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", list)

        store = intercept(MemoryStore())
        store.before(call, *[fail] * 20)
        durably = engine(job, store=store)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
        assert (await found(durably, run.id)).status == "pending"

    async def test_a_takeover_ends_the_attempt(
        self, engine: Engine, record: Record, intercept: Intercept, pass_time: Callable[[int], Awaitable[None]]
    ) -> None:
        calls: list[str] = []

        @job_of
        async def job(step: StepContext) -> str:
            await step.run("one", calls.append, "one")
            return "done"

        shared = MemoryStore()
        cut_off = intercept(shared)
        cut_off.before("persist_step", *[fail] * 10)
        cut_off.before("renew_lease", *[fail] * 10)
        one, two = engine(job, store=cut_off), engine(job, store=shared)
        events = record(one)
        run = await one.jobs.job.trigger()
        task = asyncio.create_task(one.process_one())
        await pass_time(30_000)
        assert await two.process_one()
        await pass_time(30_000)
        assert task.done() and calls == ["one", "one"]
        ended = await found(two, run.id)
        assert (ended.status, ended.output, ended.lease_generation) == ("completed", "done", 2)
        assert of_type(events, "run:complete", "step:complete", "step:fail") == []

    async def test_a_takeover_that_ends_the_run_leaves_nothing_to_tell(
        self, engine: Engine, record: Record, intercept: Intercept, pass_time: Callable[[int], Awaitable[None]]
    ) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            return "done"

        shared = MemoryStore()
        cut_off = intercept(shared)
        cut_off.before("complete_run", *[fail] * 10)
        one, two = engine(job, store=cut_off), engine(job, store=shared)
        events = record(one)
        await one.jobs.job.trigger()
        task = asyncio.create_task(one.process_one())
        await pass_time(31_000)
        assert await two.process_one()
        await pass_time(30_000)
        assert task.done() and of_type(events, "run:complete", "run:fail") == []
        assert [event.context for event in of_type(events, "worker:error")] == ["store", "run-completion"]


class TestOtherCalls:
    async def test_a_claim_that_was_applied_though_it_raised_loses_nothing(
        self, engine: Engine, intercept: Intercept, clock: FakeClock, at_once: AtOnce
    ) -> None:
        calls: list[str] = []

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", calls.append, "one")

        store = intercept(MemoryStore())
        store.after("claim_next", fail)
        durably = engine(job, store=store)
        run = await durably.jobs.job.trigger()
        with pytest.raises(StoreError):
            await durably.process_one()
        assert (await found(durably, run.id)).status == "leased"
        clock.advance(30_000)
        assert await at_once(durably.process_one())
        assert (await found(durably, run.id)).status == "completed" and calls == ["one"]

    async def test_a_lease_that_cannot_be_given_back_expires(
        self, engine: Engine, record: Record, intercept: Intercept, interrupt: Interrupt, clock: FakeClock
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await asyncio.Event().wait()

        store = intercept(MemoryStore())
        store.before("release_lease", fail)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        [error] = of_type(events, "worker:error")
        assert (error.error, error.context, error.run_id) == ("disk full", "store", run.id)
        clock.advance(30_000)
        await interrupt(durably)
        assert (await found(durably, run.id)).lease_generation == 2

    async def test_a_trigger_raises_and_may_be_repeated_with_its_key(
        self, engine: Engine, intercept: Intercept
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        store = intercept(MemoryStore())
        for call in ("enqueue", "enqueue_many"):
            store.after(call, fail)
        durably = engine(job, store=store)
        with pytest.raises(StoreError, match="disk full"):
            await durably.jobs.job.trigger(idempotency_key="k")
        again = await durably.jobs.job.trigger(idempotency_key="k")
        assert again.disposition == "idempotent" and len(await durably.get_runs()) == 1
