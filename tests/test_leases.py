"""A lease keeps a run with its worker: renewed while the job runs, taken over when its holder is gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
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


def of_type(events: list[Event], type: str) -> list[Any]:
    return [event for event in events if event.type == type]


class TestLease:
    async def test_is_told_when_it_is_taken(self, engine: Engine, record: Record, clock: FakeClock) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        durably = engine(job, lease_ms=20_000)
        events = record(durably)
        clock.advance(1)
        run = await durably.jobs.job.trigger(labels={"a": "1"})
        await durably.process_one()
        assert asdict(events[1]) == {
            "type": "run:leased",
            "timestamp": "2026-01-01T00:00:00.001Z",
            "sequence": 2,
            "run_id": run.id,
            "job_name": "job",
            "labels": {"a": "1"},
            "input": None,
            "lease_owner": durably.worker_id,
            "lease_expires_at": "2026-01-01T00:00:20.001Z",
        }

    async def test_belongs_to_the_worker_that_is_named(self, engine: Engine, record: Record) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        durably = engine(job)
        for process in (durably.process_one, durably.process_until_idle):
            events = record(durably)
            await durably.jobs.job.trigger()
            await process(worker_id="me")
            assert of_type(events, "run:leased")[0].lease_owner == "me"

    async def test_is_extended_by_each_checkpoint(
        self, engine: Engine, settle: Settle, clock: FakeClock, at_once: AtOnce
    ) -> None:
        seen: list[str | None] = []

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("long", lambda: clock.advance(4_000))
            seen.append((await found(durably, step.run_id)).lease_expires_at)

        durably = engine(job)
        await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        assert seen == ["2026-01-01T00:00:34.000Z"]


class TestRenewal:
    async def test_runs_beside_the_job(self, engine: Engine, record: Record, settle: Settle, clock: FakeClock) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("wait", gate.wait)

        durably = engine(job, lease_renew_interval_ms=7_000, lease_ms=20_000)
        events = record(durably)
        run = await durably.jobs.job.trigger(labels={"a": "1"})
        task = asyncio.create_task(durably.process_one())
        await settle()
        for seconds in ("07", "14", "21", "28"):
            clock.advance(6_999)
            await settle()
            clock.advance(1)
            await settle()
            renewed = of_type(events, "run:lease-renewed")[-1]
            assert renewed.timestamp == f"2026-01-01T00:00:{seconds}.000Z"
            assert renewed.lease_expires_at == (await found(durably, run.id)).lease_expires_at
        assert asdict(renewed) == {
            "type": "run:lease-renewed",
            "timestamp": "2026-01-01T00:00:28.000Z",
            "sequence": renewed.sequence,
            "run_id": run.id,
            "job_name": "job",
            "labels": {"a": "1"},
            "lease_owner": durably.worker_id,
            "lease_expires_at": "2026-01-01T00:00:48.000Z",
        }
        assert len(of_type(events, "run:lease-renewed")) == 4
        gate.set()
        await settle()
        assert task.done()
        clock.advance(60_000)
        await settle()
        assert events[-1].type == "run:complete"

    async def test_keeps_others_away_for_as_long_as_the_job_runs(
        self, engine: Engine, settle: Settle, clock: FakeClock
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            await gate.wait()

        durably, other = engine(job), engine(job)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        for _ in range(20):
            clock.advance(5_000)
            await settle()
            assert not await other.process_one()
        gate.set()
        await settle()
        assert task.done()
        ended = await found(durably, run.id)
        assert (ended.status, ended.lease_generation) == ("completed", 1)

    @pytest.mark.parametrize("error", [StoreError("disk full"), RuntimeError("disk full")], ids=["StoreError", "any"])
    async def test_that_raises_is_told_once_an_outage_and_the_job_goes_on(
        self,
        engine: Engine,
        record: Record,
        settle: Settle,
        clock: FakeClock,
        intercept: Intercept,
        error: Exception,
    ) -> None:
        gate = asyncio.Event()

        async def fail() -> None:
            raise error

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("wait", gate.wait)

        store = intercept(MemoryStore())
        store.before("renew_lease", fail)
        store.after("renew_lease", fail)
        durably = engine(job, store=store)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        events = record(durably)
        for _ in range(3):
            clock.advance(5_000)
            await settle()
        store.before("renew_lease", fail)
        clock.advance(5_000)
        await settle()
        assert [event.type for event in events] == ["worker:error", "run:lease-renewed", "worker:error"]
        told: Any = events[0]
        assert (told.error, told.context, told.run_id) == ("disk full", "lease-renewal", run.id)
        gate.set()
        await settle()
        assert task.done() and (await found(durably, run.id)).status == "completed"

    async def test_succeeds_after_expiry_as_long_as_nobody_claimed_the_run(
        self, engine: Engine, record: Record, settle: Settle, clock: FakeClock
    ) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            await step.run("blocks", lambda: clock.advance(90_000))  # no renewal gets a turn
            await step.run("waits", gate.wait)
            return "done"

        gate = asyncio.Event()
        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        [renewed] = of_type(events, "run:lease-renewed")
        assert renewed.lease_expires_at == "2026-01-01T00:02:00.000Z"
        gate.set()
        await settle()
        assert task.done() and (await found(durably, run.id)).output == "done"


class TestTakeover:
    async def test_of_a_dead_workers_run_waits_for_the_lease_to_expire(
        self, engine: Engine, store: MemoryStore, clock: FakeClock
    ) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            return "done"

        durably = engine(job)
        run = await durably.jobs.job.trigger()
        await store.claim_next("dead", run.created_at, 30_000)
        clock.advance(29_999)
        assert not await durably.process_one()
        clock.advance(1)
        assert await durably.process_one()
        ended = await found(durably, run.id)
        assert (ended.status, ended.output, ended.lease_generation) == ("completed", "done", 2)

    async def test_goes_on_where_the_last_checkpoint_is_and_shuts_the_first_worker_out(
        self, engine: Engine, record: Record, settle: Settle, clock: FakeClock, intercept: Intercept, at_once: AtOnce
    ) -> None:
        calls: list[str] = []
        gates: dict[str, asyncio.Event] = {}

        @job_of
        async def job(step: StepContext) -> int:
            first = await step.run("first", lambda: calls.append("first") or 1)
            second = await step.run("second", slow, len(gates))
            return first + second

        async def slow(attempt: int) -> int:
            calls.append(f"second, attempt {attempt}")
            gate = gates[f"attempt {attempt}"] = asyncio.Event()
            await gate.wait()
            return 10 * (attempt + 1)

        shared = MemoryStore()
        cut_off = intercept(shared)
        cut_off.before("renew_lease", *[fail] * 7)
        one, two = engine(job, store=cut_off), engine(job, store=shared)
        seen_by_one, seen_by_two = record(one), record(two)
        run = await one.jobs.job.trigger()
        first = asyncio.create_task(one.process_one())
        for _ in range(6):
            await settle()
            clock.advance(5_000)
        await settle()
        second = asyncio.create_task(two.process_one())
        await settle()
        gates["attempt 0"].set()
        await settle()
        assert first.done()
        assert [event.type for event in seen_by_one if event.type != "worker:error"][-1] == "step:cancel"
        gates["attempt 1"].set()
        await settle()
        assert second.done()
        assert calls == ["first", "second, attempt 0", "second, attempt 1"]
        ended = await found(two, run.id)
        assert (ended.status, ended.output, ended.lease_generation) == ("completed", 21, 2)
        assert of_type(seen_by_one, "run:complete") == [] and len(of_type(seen_by_two, "run:complete")) == 1

    async def test_of_a_run_that_was_given_back_need_not_wait(
        self, engine: Engine, interrupt: Interrupt, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            await gate.wait()

        one, two = engine(job), engine(job)
        run = await one.jobs.job.trigger()
        await interrupt(one)
        gate.set()
        assert await at_once(two.process_one())
        ended = await found(two, run.id)
        assert (ended.status, ended.started_at) == ("completed", "2026-01-01T00:00:00.000Z")


class TestOwnRun:
    async def test_is_never_claimed_by_another_slot_of_the_engine_that_executes_it(
        self, engine: Engine, record: Record, settle: Settle, clock: FakeClock, intercept: Intercept, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("three lease lengths", gate.wait)

        store = intercept(MemoryStore())
        store.before("renew_lease", *[fail] * 100)  # so the lease expires under the engine's feet
        durably = engine(job, store=store, max_concurrent_runs=2)
        events = record(durably)
        await durably.init()
        run = await durably.jobs.job.trigger()
        for _ in range(90):
            await settle()
            clock.advance(1_000)
        assert ((await found(durably, run.id)).lease_expires_at or "") < durably_now(clock)
        gate.set()
        await settle()
        ended = await found(durably, run.id)
        assert (ended.status, ended.lease_generation) == ("completed", 1)
        assert len(of_type(events, "run:leased")) == len(of_type(events, "step:start")) == 1
        await at_once(durably.stop())

    async def test_survives_a_synchronous_step_of_three_lease_lengths(
        self, engine: Engine, record: Record, settle: Settle, clock: FakeClock, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("blocks", lambda: clock.advance(90_000))
            await step.run("after", int)

        durably = engine(job, max_concurrent_runs=2)
        events = record(durably)
        await durably.init()
        run = await durably.jobs.job.trigger()
        await settle()
        ended = await found(durably, run.id)
        assert (ended.status, ended.lease_generation) == ("completed", 1)
        assert len(of_type(events, "run:leased")) == 1 and of_type(events, "worker:error") == []
        await at_once(durably.stop())

    async def test_is_not_renewed_by_another_slots_claim_once_it_ends(
        self, engine: Engine, record: Record, settle: Settle, clock: FakeClock, intercept: Intercept, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("blocks", lambda: clock.advance(90_000))

        known = asyncio.Event()
        store = intercept(MemoryStore())
        store.after("complete_run", known.wait)
        durably = engine(job, store=store, max_concurrent_runs=2)
        events = record(durably)
        await durably.init()
        run = await durably.jobs.job.trigger()
        await settle()
        assert (await found(durably, run.id)).status == "completed"

        await durably.jobs.job.trigger()
        await settle()
        known.set()
        await settle()

        assert len(of_type(events, "run:complete")) == 2 and of_type(events, "worker:error") == []
        await at_once(durably.stop())


class TestConcurrencyKey:
    async def test_is_held_over_all_jobs_until_the_run_has_ended(
        self, engine: Engine, record: Record, settle: Settle, at_once: AtOnce
    ) -> None:
        gates = {"first": asyncio.Event(), "second": asyncio.Event()}

        @define_job("first")
        async def first(step: StepContext) -> None:
            await gates["first"].wait()

        @define_job("second")
        async def second(step: StepContext) -> None:
            await gates["second"].wait()

        durably = engine(first, second, max_concurrent_runs=3, polling_interval_ms=60_000)
        events = record(durably)
        await durably.init()
        for job in ("first", "second"):
            await durably.jobs[job].trigger(concurrency_key="tenant")
            await settle()
        assert [event.job_name for event in of_type(events, "run:leased")] == ["first"]
        gates["first"].set()
        await settle()
        assert [event.job_name for event in of_type(events, "run:leased")] == ["first", "second"]
        gates["second"].set()
        await settle()
        assert len(of_type(events, "run:complete")) == 2
        await at_once(durably.stop())

    async def test_is_freed_at_once_for_a_worker_that_is_idle(
        self, engine: Engine, record: Record, settle: Settle, at_once: AtOnce
    ) -> None:
        gates = {"first": asyncio.Event(), "second": asyncio.Event()}

        @define_job("job")
        async def job(step: StepContext, name: str) -> None:
            await gates[name].wait()

        durably = engine(job, polling_interval_ms=60_000)
        events = record(durably)
        await durably.jobs.job.trigger("first", concurrency_key="tenant")
        by_hand = asyncio.create_task(durably.process_one())
        await settle()
        await durably.init()
        await durably.jobs.job.trigger("second", concurrency_key="tenant")
        await settle()
        assert [event.input for event in of_type(events, "run:leased")] == ["first"]
        gates["first"].set()
        await settle()
        assert by_hand.done()
        assert [event.input for event in of_type(events, "run:leased")] == ["first", "second"]
        gates["second"].set()
        await at_once(durably.stop())

    async def test_is_freed_by_a_cancellation_at_once(
        self, engine: Engine, record: Record, settle: Settle, store: MemoryStore, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        durably = engine(job, polling_interval_ms=60_000)
        events = record(durably)
        held = await durably.jobs.job.trigger(concurrency_key="tenant")
        await store.claim_next("elsewhere", held.created_at, 30_000)
        await durably.init()
        await durably.jobs.job.trigger(concurrency_key="tenant")
        await settle()
        assert of_type(events, "run:leased") == []
        await durably.cancel(held.id)
        await settle()
        assert len(of_type(events, "run:complete")) == 1
        await at_once(durably.stop())


class TestExclusiveEngine:
    async def test_counts_the_epoch_up_once_and_carries_it_in_its_worker_id(
        self, engine: Engine, at_once: AtOnce
    ) -> None:
        for epoch in (1, 2, 3):
            durably = engine(exclusive=True)
            assert durably.epoch is None
            await asyncio.gather(durably.migrate(), durably.migrate())
            await durably.init()
            assert durably.epoch == epoch
            assert re.fullmatch(rf"lock-{epoch}-[0-9a-f]{{16}}", durably.worker_id)
            await at_once(durably.stop())

    async def test_reclaims_leases_of_earlier_epochs_at_once(
        self, engine: Engine, settle: Settle, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            if durably is earlier:
                await asyncio.Event().wait()

        durably = earlier = engine(job, exclusive=True)
        await earlier.migrate()
        run = await earlier.jobs.job.trigger()
        dead = asyncio.create_task(earlier.process_one())
        await settle()
        assert (await found(earlier, run.id)).lease_owner == earlier.worker_id
        durably = later = engine(job, exclusive=True)
        await later.migrate()
        assert await at_once(later.process_one())
        ended = await found(later, run.id)
        assert (ended.status, ended.lease_generation) == ("completed", 2)
        dead.cancel()
        await asyncio.wait({dead})

    @pytest.mark.parametrize("owner", ["worker-0123456789abcdef", "lock-2-other", "lock-3-other", "my lock-1-x"])
    async def test_leaves_all_other_leases_to_expire(
        self, engine: Engine, store: MemoryStore, clock: FakeClock, owner: str
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        await store.advance_epoch()
        durably = engine(job, exclusive=True)
        await durably.migrate()
        assert durably.epoch == 2
        run = await durably.jobs.job.trigger()
        await store.claim_next(owner, run.created_at, 30_000)
        assert not await durably.process_one()
        clock.advance(30_000)
        assert await durably.process_one()

    async def test_is_the_only_one_to_whom_a_lease_is_void(self, engine: Engine, store: MemoryStore) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        await store.advance_epoch()
        durably = engine(job)
        await durably.migrate()
        run = await durably.jobs.job.trigger()
        await store.claim_next("lock-1-other", run.created_at, 30_000)
        assert durably.epoch is None and not await durably.process_one()


class TestWorkerId:
    def test_is_unique(self, engine: Engine) -> None:
        ids = {engine().worker_id for _ in range(100)}
        assert len(ids) == 100
        assert all(re.fullmatch(r"worker-[0-9a-f]{16}", id) for id in ids)

    @pytest.mark.parametrize("exclusive", [False, True])
    async def test_is_another_one_after_a_restart(self, engine: Engine, at_once: AtOnce, exclusive: bool) -> None:
        durably = engine(exclusive=exclusive)
        ids = []
        for _ in range(3):
            await durably.init()
            ids.append(durably.worker_id)
            await at_once(durably.stop())
        assert len(set(ids)) == 3
        assert all(id.startswith("lock-1-" if exclusive else "worker-") for id in ids)

    async def test_may_be_given(self, engine: Engine, record: Record, settle: Settle, at_once: AtOnce) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        durably = engine(job)
        events = record(durably)
        durably.start(worker_id="me")
        await durably.jobs.job.trigger()
        await settle()
        assert durably.worker_id == of_type(events, "run:leased")[0].lease_owner == "me"
        await at_once(durably.stop())


def durably_now(clock: FakeClock) -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")


class TestWakingUp:
    async def test_renews_before_it_claims(
        self, engine: Engine, clock: FakeClock, settle: Settle, intercept: Intercept
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("wait", gate.wait)

        gate = asyncio.Event()
        store = intercept(MemoryStore())
        durably = engine(job, store=store, max_concurrent_runs=2, lease_ms=30_000, lease_renew_interval_ms=600_000)
        await durably.init()
        run = await durably.jobs.job.trigger()
        await settle()
        before = len(store.calls)
        clock.advance(90_000)
        await settle()
        assert store.calls[before:].index("renew_lease") < store.calls[before:].index("claim_next")
        assert (await found(durably, run.id)).lease_expires_at == "2026-01-01T00:02:00.000Z"
        gate.set()
        await durably.stop()
