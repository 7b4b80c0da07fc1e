"""A run that is cancelled, or whose lease is lost, is stopped wherever it awaits, and nothing of it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import (
    ConflictError,
    Durably,
    Event,
    JobDefinition,
    LeaseLost,
    NotFoundError,
    RunCancelled,
    StepContext,
    StopExecution,
    define_job,
)
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Execute, Intercept, Interrupt, Record, Settle

NOON = "2026-01-01T00:00:00.000Z"  # where a FakeClock starts
LATER = "2026-01-01T01:00:00.000Z"  # when every lease has expired


def job_of(function: Callable[[StepContext], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    """Make a job without input."""
    return define_job("job", input=None, output=Any, run=function)


def told(events: list[Event], *more: str) -> list[tuple[str, str | None]]:
    """Return type and step of the steps' events, and of those of further types."""
    return [
        (event.type, getattr(event, "step_name", None))
        for event in events
        if event.type.startswith("step:") or event.type in more
    ]


def result_now(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what never suspends, as synchronous code between two turns of the loop would."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError(f"{work!r} suspended")


async def status_of(durably: Durably, run_id: str) -> str:
    run = await durably.get_run(run_id)
    assert run is not None
    return run.status


class TestCancel:
    async def test_ends_a_pending_run_that_then_never_runs(
        self, engine: Engine, record: Record, clock: FakeClock
    ) -> None:
        calls: list[str] = []

        @job_of
        async def job(step: StepContext) -> None:
            calls.append(step.run_id)

        durably = engine(job)
        run = await durably.jobs.job.trigger(labels={"a": "1"})
        events = record(durably)
        clock.advance(10)
        await durably.cancel(run.id)
        ended = await durably.get_run(run.id)
        at = "2026-01-01T00:00:00.010Z"
        assert ended is not None and (ended.status, ended.completed_at) == ("cancelled", at)
        assert not await durably.process_one()
        assert calls == []
        common = {"run_id": run.id, "job_name": "job", "labels": {"a": "1"}}
        assert [asdict(event) for event in events] == [{"type": "run:cancel", "timestamp": at, "sequence": 2, **common}]

    async def test_refuses_a_run_that_is_not_there_or_has_ended(self, engine: Engine, record: Record) -> None:
        @job_of
        async def job(step: StepContext) -> None: ...

        durably = engine(job)
        run = await durably.jobs.job.trigger()
        await durably.process_one()
        other = await durably.jobs.job.trigger()
        await durably.cancel(other.id)
        events = record(durably)
        with pytest.raises(NotFoundError, match="no-such-run"):
            await durably.cancel("no-such-run")
        with pytest.raises(ConflictError, match=f"{run.id}.*completed"):
            await durably.cancel(run.id)
        with pytest.raises(ConflictError, match=f"{other.id}.*cancelled"):
            await durably.cancel(other.id)
        assert events == []


class TestAwaitingWork:
    @pytest.mark.parametrize("inside", ["a step", "the job"])
    async def test_is_cancelled_and_cleans_up_knowing_why(
        self, engine: Engine, record: Record, settle: Settle, inside: str
    ) -> None:
        seen: list[object] = []

        @job_of
        async def job(step: StepContext) -> None:
            async def wait() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    seen.append(step.is_aborted())

            seen.append(step.is_aborted())
            step.raise_if_aborted()
            if inside == "a step":
                await step.run("wait", wait)
            else:
                await wait()
            seen.append("went on")

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        await settle()
        assert task.done() and await task is True
        assert seen == [False, True]
        assert await status_of(durably, run.id) == "cancelled"
        steps = [("step:start", "wait"), ("run:cancel", None), ("step:cancel", "wait")]
        assert told(events, "run:cancel") == (steps if inside == "a step" else [("run:cancel", None)])
        assert events[-1].type in ("step:cancel", "run:cancel")

    async def test_of_parallel_steps_is_told_once_for_each(
        self, engine: Engine, record: Record, settle: Settle
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("done", int)
            await asyncio.gather(*(step.run(name, asyncio.Event().wait) for name in "abc"))

        durably = engine(job)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        events = record(durably)
        await durably.cancel(run.id)
        await settle()
        assert task.done()
        assert told(events, "run:fail", "run:complete") == [("step:cancel", name) for name in "abc"]

    @pytest.mark.parametrize("ending", ["raises", "returns", "is cancelled"])
    async def test_is_no_failure_however_it_ends(
        self, engine: Engine, record: Record, settle: Settle, ending: str
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            async def wait() -> None:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if ending == "raises":
                        raise ValueError("the cleanup failed") from None
                    if ending == "is cancelled":
                        raise

            try:
                await step.run("wait", wait)
            finally:
                if ending == "raises":
                    raise OSError("so did this one")

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        await settle()
        assert task.done()
        assert await status_of(durably, run.id) == "cancelled"
        assert told(events, "run:fail", "run:complete") == [("step:start", "wait"), ("step:cancel", "wait")]

    async def test_can_begin_no_step_while_it_cleans_up(self, engine: Engine, record: Record, settle: Settle) -> None:
        seen: list[object] = []

        @job_of
        async def job(step: StepContext) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                for attempt in (lambda: step.run("clean", seen.append, "called"), lambda: step.raise_if_aborted()):
                    try:
                        await attempt()
                    except StopExecution as error:
                        seen.append(type(error))

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        await settle()
        assert task.done()
        assert seen == [RunCancelled, RunCancelled]
        assert told(events) == []

    async def test_is_not_called_when_the_run_is_cancelled_before_it_begins(
        self, engine: Engine, settle: Settle, intercept: Intercept, interrupt: Interrupt
    ) -> None:
        calls: list[str] = []
        reading = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            calls.append("called")
            await asyncio.Event().wait()

        store = intercept(MemoryStore())
        durably = engine(job, store=store)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        store.before("get_steps", reading.wait)
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        reading.set()
        await settle()
        assert task.done()
        assert calls == ["called"]
        assert await status_of(durably, run.id) == "cancelled"


class TestSynchronousWork:
    async def test_finds_out_at_its_next_step(self, engine: Engine, record: Record, at_once: AtOnce) -> None:
        seen: list[object] = []

        @job_of
        async def job(step: StepContext) -> None:
            def compute() -> str:
                seen.append(step.is_aborted())
                result_now(durably.cancel(step.run_id))
                seen.append(step.is_aborted())
                return "ignored"

            await step.run("compute", compute)
            await step.run("next", seen.append, "called")

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert seen == [False, True]
        assert await status_of(durably, run.id) == "cancelled"
        assert told(events) == [("step:start", "compute"), ("step:cancel", "compute")]

    async def test_may_ask(self, engine: Engine, record: Record, at_once: AtOnce) -> None:
        rounds: list[int] = []

        @job_of
        async def job(step: StepContext) -> None:
            def compute() -> None:
                for n in range(10):
                    if n == 3:
                        result_now(durably.cancel(step.run_id))
                    step.raise_if_aborted()
                    rounds.append(n)

            await step.run("compute", compute)

        durably = engine(job)
        events = record(durably)
        await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        assert rounds == [0, 1, 2]
        assert told(events, "run:fail") == [("step:start", "compute"), ("step:cancel", "compute")]

    @pytest.mark.parametrize("fails", [False, True])
    async def test_finds_out_from_the_store_what_another_engine_cancelled(
        self, engine: Engine, record: Record, at_once: AtOnce, fails: bool
    ) -> None:
        raised: list[BaseException] = []

        @job_of
        async def job(step: StepContext) -> None:
            def compute() -> None:
                result_now(other.cancel(step.run_id))
                if fails:
                    raise ValueError("too late to matter")

            for name in ("compute", "next"):
                try:
                    await step.run(name, compute)
                except Exception:
                    raised.append(AssertionError("swallowed"))
                except BaseException as error:
                    raised.append(error)

        durably, other = engine(job), engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert [type(error) for error in raised] == [RunCancelled, RunCancelled]
        assert run.id in str(raised[0])
        assert await status_of(durably, run.id) == "cancelled"
        steps = [("step:start", "compute"), ("step:cancel", "compute")]
        assert told(events, "run:fail", "run:complete", "run:cancel") == steps

    async def test_finds_out_also_when_it_asks_for_a_result_that_is_gone(
        self, engine: Engine, record: Record, at_once: AtOnce
    ) -> None:
        raised: list[BaseException] = []

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("once", int)
            result_now(other.cancel(step.run_id))
            try:
                await step.run("once", int)
            except BaseException as error:
                raised.append(error)
                raise

        durably, other = engine(job), engine(job)
        events = record(durably)
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert [type(error) for error in raised] == [RunCancelled]
        assert told(events, "run:fail", "worker:error") == [("step:start", "once"), ("step:complete", "once")]


class TestCheckpointInFlight:
    async def test_is_completed_before_a_cancellation_is_delivered(
        self, engine: Engine, record: Record, settle: Settle, intercept: Intercept
    ) -> None:
        written = asyncio.Event()
        seen: list[str] = []

        @job_of
        async def job(step: StepContext) -> None:
            try:
                await step.run("work", int)
            except BaseException as error:
                seen.append(type(error).__name__)
                raise
            seen.append("went on")

        store = intercept(MemoryStore())
        store.after("persist_step", written.wait)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        await settle()
        assert (seen, told(events)) == ([], [("step:start", "work")])
        written.set()
        await settle()
        assert task.done() and seen == ["CancelledError"]
        assert told(events, "run:cancel") == [
            ("step:start", "work"),
            ("run:cancel", None),
            ("step:complete", "work"),
        ]

    async def test_is_kept_when_the_worker_is_cancelled_meanwhile(
        self, engine: Engine, record: Record, settle: Settle, intercept: Intercept, at_once: AtOnce
    ) -> None:
        writing = asyncio.Event()
        calls: list[str] = []

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", calls.append, "one")
            await step.run("two", calls.append, "two")

        store = intercept(MemoryStore())
        store.before("persist_step", writing.wait)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        for _ in range(3):  # however often
            task.cancel()
            await settle()
        assert not task.done() and await status_of(durably, run.id) == "leased"
        writing.set()
        await settle()
        assert task.cancelled() and await status_of(durably, run.id) == "pending"
        assert await at_once(durably.process_one())
        assert calls == ["one", "two"]
        assert told(events) == [
            ("step:start", "one"),
            ("step:complete", "one"),
            ("step:start", "two"),
            ("step:complete", "two"),
        ]

    async def test_that_meets_the_cancellation_is_refused_and_told_once(
        self, engine: Engine, record: Record, settle: Settle, intercept: Intercept
    ) -> None:
        writing = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("work", int)

        store = intercept(MemoryStore())
        store.before("persist_step", writing.wait)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        writing.set()
        await settle()
        assert task.done()
        assert told(events) == [("step:start", "work"), ("step:cancel", "work")]
        assert await durably.get_steps(run.id) == []

    async def test_of_the_runs_end_loses_against_a_cancellation(
        self, engine: Engine, record: Record, settle: Settle, intercept: Intercept
    ) -> None:
        writing = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None: ...

        store = intercept(MemoryStore())
        store.before("complete_run", writing.wait)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        writing.set()
        await settle()
        assert task.done() and await status_of(durably, run.id) == "cancelled"
        assert told(events, "run:complete", "run:fail", "run:cancel") == [("run:cancel", None)]


class TestLostLease:
    async def test_noticed_by_the_renewal_stops_the_job(
        self, engine: Engine, record: Record, settle: Settle, store: MemoryStore, clock: FakeClock
    ) -> None:
        seen: list[object] = []

        @job_of
        async def job(step: StepContext) -> None:
            async def wait() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    seen.append(step.is_aborted())

            try:
                await step.run("wait", wait)
            finally:
                try:
                    step.raise_if_aborted()
                except LeaseLost as error:
                    seen.append(str(error))

        durably = engine(job)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        events = record(durably)
        taken = await store.claim_next("other", LATER, 30_000)
        clock.advance(5_000)
        await settle()
        assert task.done() and await task is True
        assert seen == [True, f"The lease on run {run.id} was lost"]
        assert [(event.type, getattr(event, "context", None)) for event in events] == [
            ("worker:error", "lease-renewal"),
            ("step:cancel", None),
        ]
        assert asdict(events[0])["run_id"] == run.id and run.id in asdict(events[0])["error"]
        assert await store.get_run(run.id) == taken

    async def test_noticed_by_a_checkpoint_stops_the_job_and_stores_nothing(
        self, engine: Engine, record: Record, at_once: AtOnce, store: MemoryStore
    ) -> None:
        raised: list[BaseException] = []

        @job_of
        async def job(step: StepContext) -> None:
            try:
                await step.run("work", lambda: result_now(store.claim_next("other", LATER, 30_000)) and None)
            except BaseException as error:
                raised.append(error)
                raise

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert [type(error) for error in raised] == [LeaseLost]
        assert told(events, "run:complete", "run:fail") == [("step:start", "work"), ("step:cancel", "work")]
        found = await durably.get_run(run.id)
        assert found is not None and (found.status, found.lease_owner, found.lease_generation) == ("leased", "other", 2)
        assert await durably.get_steps(run.id) == []

    @pytest.mark.parametrize(("fails", "context"), [(False, "run-completion"), (True, "run-failure")])
    async def test_noticed_at_the_end_writes_no_end(
        self, engine: Engine, record: Record, at_once: AtOnce, store: MemoryStore, fails: bool, context: str
    ) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            result_now(store.claim_next("other", LATER, 30_000))
            if fails:
                raise ValueError("in vain")
            return "in vain"

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert [(event.type, getattr(event, "context", None)) for event in events[2:]] == [("worker:error", context)]
        found = await durably.get_run(run.id)
        assert found is not None and (found.status, found.lease_owner) == ("leased", "other")


class TestCancelledWorker:
    async def test_stops_the_job_and_gives_the_lease_back(
        self, engine: Engine, record: Record, interrupt: Interrupt, at_once: AtOnce
    ) -> None:
        seen: list[object] = []

        @job_of
        async def job(step: StepContext) -> str:
            await step.run("one", int)
            try:
                await step.run("two", gate.wait)
            finally:
                seen.append(step.is_aborted())
            return "done"

        gate = asyncio.Event()
        durably, other = engine(job), engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        found = await durably.get_run(run.id)
        assert found is not None and (found.status, found.lease_owner, found.lease_expires_at) == (
            "pending",
            None,
            None,
        )
        assert [step.name for step in await durably.get_steps(run.id)] == ["one"]
        assert told(events, "run:fail", "run:complete", "worker:error")[-1] == ("step:cancel", "two")
        gate.set()
        assert await at_once(other.process_one())
        assert seen == [True, False] and await status_of(durably, run.id) == "completed"

    async def test_also_stops_the_steps_that_run_in_tasks_of_their_own(
        self, engine: Engine, record: Record, interrupt: Interrupt
    ) -> None:
        tasks: list[asyncio.Task[Any]] = []
        status: list[str] = []

        @job_of
        async def job(step: StepContext) -> None:
            async def wait() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    status.append(await status_of(durably, step.run_id))

            tasks.append(asyncio.create_task(step.run("wait", wait)))
            await asyncio.Event().wait()

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        try:
            assert tasks[0].cancelled()
            assert told(events) == [("step:start", "wait"), ("step:cancel", "wait")]
            assert (status, await status_of(durably, run.id)) == (["leased"], "pending")
        finally:
            tasks[0].cancel()
            await asyncio.wait(tasks)

    async def test_is_no_failure_of_a_step_whose_cleanup_raises(
        self, engine: Engine, record: Record, interrupt: Interrupt
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            async def wait() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    raise ValueError("the cleanup failed")

            await step.run("wait", wait)

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        assert told(events, "run:fail") == [("step:start", "wait"), ("step:cancel", "wait")]
        assert await status_of(durably, run.id) == "pending"
        assert await durably.get_steps(run.id) == []

    async def test_gives_back_also_what_it_was_claiming(
        self, engine: Engine, settle: Settle, intercept: Intercept, at_once: AtOnce
    ) -> None:
        calls: list[str] = []
        claiming = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            calls.append("called")

        store = intercept(MemoryStore())
        store.after("claim_next", claiming.wait)
        durably = engine(job, store=store)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        task.cancel()
        await settle()
        claiming.set()
        await settle()
        assert task.cancelled() and calls == []
        assert await status_of(durably, run.id) == "pending"
        assert await at_once(durably.process_one()) and calls == ["called"]

    async def test_does_not_cut_the_runs_end_in_half(
        self, engine: Engine, record: Record, settle: Settle, intercept: Intercept
    ) -> None:
        writing = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None: ...

        store = intercept(MemoryStore())
        store.before("complete_run", writing.wait)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        task.cancel()
        await settle()
        writing.set()
        await settle()
        assert task.cancelled() and await status_of(durably, run.id) == "completed"
        assert events[-1].type == "run:complete"


class TestCancellationThatNobodyAskedFor:
    @pytest.mark.parametrize("inside", ["a step", "the job"])
    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (asyncio.CancelledError("stray"), "asyncio.exceptions.CancelledError"),
            (SystemExit("stray"), "SystemExit"),
        ],
        ids=["CancelledError", "SystemExit"],
    )
    async def test_fails_the_run_like_an_exception(
        self, execute: Execute, error: BaseException, kind: str, inside: str
    ) -> None:
        def stray() -> None:
            raise error

        @job_of
        async def job(step: StepContext) -> None:
            if inside == "a step":
                await step.run("work", stray)
            stray()

        run, events = await execute(job)
        assert (run.status, run.error, run.error_type) == ("failed", "stray", kind)
        steps = [("step:start", "work"), ("step:fail", "work")] if inside == "a step" else []
        assert told(events) == steps
        failed: Any = events[-1]
        assert (failed.type, failed.failed_step_name) == ("run:fail", "work" if steps else "unknown")

    async def test_fails_the_run_when_it_comes_from_a_task_that_was_awaited(self, execute: Execute) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            task = asyncio.create_task(asyncio.Event().wait())
            task.cancel()
            await step.run("await", lambda: task)

        run, _ = await execute(job)
        assert (run.status, run.error) == ("failed", "CancelledError")

    async def test_within_a_group_is_a_step_cancelled_by_the_job_itself(self, execute: Execute) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            def fail() -> None:
                raise ValueError("the first to fail")

            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(step.run("wait", asyncio.Event().wait))
                    group.create_task(step.run("fail", fail))
            except* ValueError:
                pass
            return "went on"

        run, events = await execute(job)
        assert (run.status, run.output) == ("completed", "went on")
        assert sorted(told(events)) == [
            ("step:cancel", "wait"),
            ("step:fail", "fail"),
            ("step:start", "fail"),
            ("step:start", "wait"),
        ]


class TestExceptionGroup:
    @pytest.mark.parametrize("depth", [1, 2])
    async def test_that_contains_the_order_to_stop_stops(
        self, engine: Engine, record: Record, at_once: AtOnce, depth: int
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            async def compute() -> None:
                await asyncio.sleep(0)  # until both run
                if step.run_id not in cancelled:
                    cancelled.append(step.run_id)
                    result_now(other.cancel(step.run_id))

            async def group_of(depth: int) -> None:
                async with asyncio.TaskGroup() as group:
                    if depth > 1:
                        group.create_task(group_of(depth - 1))
                    else:
                        group.create_task(step.run("a", compute))
                        group.create_task(step.run("b", compute))

            try:
                await group_of(depth)
            except BaseExceptionGroup as error:
                errors.append(error)
                raise

        cancelled: list[str] = []
        errors: list[BaseException] = []
        durably, other = engine(job), engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert len(errors) == 1 and await status_of(durably, run.id) == "cancelled"
        assert ("run:fail", None) not in told(events, "run:fail")
        assert sum(type == "step:cancel" for type, _ in told(events)) == 2

    async def test_that_contains_it_beside_an_error_stops(
        self, engine: Engine, record: Record, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            result_now(other.cancel(step.run_id))
            try:
                await step.run("work", int)
            except StopExecution as stop:
                raise BaseExceptionGroup("both", [ValueError("an error"), BaseExceptionGroup("in", [stop])]) from None

        durably, other = engine(job), engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert await status_of(durably, run.id) == "cancelled"
        assert told(events, "run:fail", "worker:error") == [("step:start", "work"), ("step:cancel", "work")]

    async def test_of_errors_alone_fails_the_run(self, execute: Execute) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            raise ExceptionGroup("two", [ValueError("a"), OSError("b")])

        run, _ = await execute(job)
        assert (run.status, run.error, run.error_type) == ("failed", "two (2 sub-exceptions)", "ExceptionGroup")
        assert run.error_traceback is not None and "OSError: b" in run.error_traceback


class TestOrderToStop:
    async def test_is_not_swallowed_by_except_exception(self, engine: Engine, record: Record, at_once: AtOnce) -> None:
        swallowed: list[Exception] = []

        @job_of
        async def job(step: StepContext) -> None:
            result_now(other.cancel(step.run_id))
            for n in range(3):
                try:
                    await step.run(f"step-{n}", int)
                except Exception as error:
                    swallowed.append(error)

        durably, other = engine(job), engine(job)
        events = record(durably)
        await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        assert swallowed == []
        assert told(events) == [("step:start", "step-0"), ("step:cancel", "step-0")]

    async def test_that_a_job_swallows_all_the_same_leads_to_nothing(
        self, engine: Engine, record: Record, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            result_now(other.cancel(step.run_id))
            for n in range(3):
                try:
                    await step.run(f"step-{n}", int)
                except BaseException:
                    pass
            return "done"

        durably, other = engine(job), engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        assert await status_of(durably, run.id) == "cancelled"
        assert told(events, "run:complete", "run:fail") == [("step:start", "step-0"), ("step:cancel", "step-0")]
