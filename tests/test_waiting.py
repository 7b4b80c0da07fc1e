"""Waiting for a run: told by the engine's own events, found by looking where another engine ended it."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from durably_wasm import (
    DurablyError,
    LogWrite,
    NotFoundError,
    Progress,
    RunCancelledError,
    RunFailedError,
    StepContext,
    ValidationError,
    WaitResult,
    WaitTimeoutError,
    define_job,
)
from durably_wasm.events import Event
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Interrupt, Settle


class Count(BaseModel):
    rows: int
    day: date


@define_job("count")
async def count(step: StepContext, rows: int) -> Count:
    if rows < 0:
        raise ValueError("fewer rows than none")
    step.log.info("counting", rows)
    step.progress(rows, rows)
    return Count(rows=rows, day=date(2026, 1, 2))


async def forever(step, input):
    await asyncio.Event().wait()


class TestWaitForRun:
    async def test_returns_the_completed_run_as_soon_as_it_ends(self, engine: Engine, settle: Settle) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        waiting = [asyncio.create_task(durably.wait_for_run(run.id)) for _ in range(3)]
        await settle()
        assert not any(task.done() for task in waiting)
        await durably.process_one()
        await settle()
        assert [task.result() for task in waiting] == [await durably.get_run(run.id)] * 3
        assert waiting[0].result().output == {"rows": 3, "day": "2026-01-02"}

    async def test_returns_at_once_when_it_has_ended(self, engine: Engine, at_once: AtOnce) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        await durably.process_one()
        ended = await at_once(durably.wait_for_run(run.id, timeout_ms=1))
        assert (ended.id, ended.status) == (run.id, "completed")

    @pytest.mark.parametrize("before", [False, True])
    async def test_raises_the_failure_with_its_run(self, engine: Engine, settle: Settle, before: bool) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(-1)
        if before:
            await durably.process_one()
        waiting = asyncio.create_task(durably.wait_for_run(run.id))
        await settle()
        if not before:
            await durably.process_one()
            await settle()
        error = waiting.exception()
        assert isinstance(error, RunFailedError) and isinstance(error, DurablyError)
        assert error.run == await durably.get_run(run.id)
        assert str(error) == f"Run {run.id} of job 'count' failed: fewer rows than none"

    @pytest.mark.parametrize("before", [False, True])
    async def test_raises_the_cancellation_with_the_runs_id(self, engine: Engine, settle: Settle, before: bool) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(1)
        if before:
            await durably.cancel(run.id)
        waiting = asyncio.create_task(durably.wait_for_run(run.id))
        await settle()
        if not before:
            await durably.cancel(run.id)
            await settle()
        error = waiting.exception()
        assert isinstance(error, RunCancelledError) and error.run_id == run.id
        assert run.id in str(error)

    async def test_raises_at_once_when_there_is_no_such_run(self, engine: Engine, at_once: AtOnce) -> None:
        with pytest.raises(NotFoundError, match="no-such-run") as raised:
            await at_once(engine(count).wait_for_run("no-such-run"))
        assert isinstance(raised.value, LookupError)

    async def test_raises_when_the_run_is_deleted_meanwhile(
        self, engine: Engine, settle: Settle, store: MemoryStore, clock: FakeClock
    ) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(1)
        waiting = asyncio.create_task(durably.wait_for_run(run.id))
        await settle()
        await store.delete_run(run.id)
        clock.advance(1_000)
        await settle()
        error = waiting.exception()
        assert isinstance(error, NotFoundError) and run.id in str(error)

    async def test_is_not_misled_by_other_runs(self, engine: Engine, settle: Settle) -> None:
        durably = engine(count, define_job("forever", run=forever))
        run = await durably.jobs.forever.trigger(None)
        waiting = asyncio.create_task(durably.wait_for_run(run.id))
        other = await durably.jobs["count"].trigger(-1)
        await durably.cancel(other.id)
        await settle()
        assert not waiting.done()
        await durably.cancel(run.id)
        await settle()
        assert isinstance(waiting.exception(), RunCancelledError)


class TestTimeout:
    async def test_raises_when_the_clock_says_so_and_leaves_the_run_alone(
        self, engine: Engine, settle: Settle, clock: FakeClock
    ) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(1)
        waiting = asyncio.create_task(durably.wait_for_run(run.id, timeout_ms=2_500))
        for step in (1_000, 1_000, 499):
            await settle()
            clock.advance(step)
        await settle()
        assert not waiting.done()
        clock.advance(1)
        await settle()
        error = waiting.exception()
        assert isinstance(error, WaitTimeoutError) and isinstance(error, TimeoutError)
        assert run.id in str(error) and "2500 ms" in str(error)
        found = await durably.get_run(run.id)
        assert found is not None and found.status == "pending"

    async def test_of_nothing_looks_once(self, engine: Engine, at_once: AtOnce) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(1)
        with pytest.raises(WaitTimeoutError):
            await at_once(durably.wait_for_run(run.id, timeout_ms=0))

    async def test_is_not_raised_before_a_last_look(self, engine: Engine, settle: Settle, clock: FakeClock) -> None:
        durably, other = engine(count, polling_interval_ms=60_000), engine(count)
        run = await durably.jobs["count"].trigger(1)
        waiting = asyncio.create_task(durably.wait_for_run(run.id, timeout_ms=1_000))
        await settle()
        await other.process_one()
        clock.advance(1_000)
        await settle()
        assert waiting.result().status == "completed"


class TestPolling:
    @pytest.mark.parametrize(("interval", "options"), [(1_000, {}), (300, {"polling_interval_ms": 300})])
    async def test_finds_what_another_engine_ended(
        self, engine: Engine, settle: Settle, clock: FakeClock, interval: int, options: dict[str, int]
    ) -> None:
        durably, other = engine(count), engine(count)
        run = await durably.jobs["count"].trigger(1)
        waiting = asyncio.create_task(durably.wait_for_run(run.id, **options))
        await settle()
        clock.advance(interval)
        await settle()
        await other.process_one()
        clock.advance(interval - 1)
        await settle()
        assert not waiting.done()
        clock.advance(1)
        await settle()
        assert waiting.result().status == "completed"

    async def test_is_as_frequent_as_the_engines_own(
        self, engine: Engine, settle: Settle, clock: FakeClock, intercept: Intercept
    ) -> None:
        store = intercept(MemoryStore())
        durably = engine(count, store=store, polling_interval_ms=200)
        run = await durably.jobs["count"].trigger(1)
        waiting = asyncio.create_task(durably.wait_for_run(run.id))
        for _ in range(10):
            await settle()
            clock.advance(100)
        await settle()
        assert store.calls.count("get_run") == 6
        waiting.cancel()
        await settle()
        assert waiting.cancelled()


class TestWhatHappensMeanwhile:
    async def test_is_told_from_the_call_on_and_of_this_run_only(
        self, engine: Engine, settle: Settle, clock: FakeClock
    ) -> None:
        gates = [asyncio.Event(), asyncio.Event()]

        @define_job("job")
        async def job(step: StepContext, name: str) -> None:
            step.progress(1, 2, name)
            step.log.info(f"{name} begins")
            await gates[0].wait()
            step.progress(2, 2, name)
            step.log.info(f"{name} ends")
            await gates[1].wait()

        progress: list[Progress] = []
        logs: list[LogWrite] = []
        durably = engine(job, max_concurrent_runs=2)
        await durably.init()
        run, other = [await durably.jobs.job.trigger(name) for name in ("this", "other")]
        await settle()
        waiting = asyncio.create_task(durably.wait_for_run(run.id, on_progress=progress.append, on_log=logs.append))
        await settle()
        gates[0].set()
        await settle()
        clock.advance(100)
        await settle()
        assert progress == [Progress(2, 2, "this")]
        assert [(type(line), line.message, line.run_id) for line in logs] == [(LogWrite, "this ends", run.id)]
        gates[1].set()
        await settle()
        assert waiting.done() and other.id != run.id
        await durably.stop()

    async def test_is_told_no_more_after_the_end_or_a_cancelled_wait(
        self, engine: Engine, settle: Settle, clock: FakeClock
    ) -> None:
        logs: list[LogWrite] = []
        durably = engine(count)
        run = await durably.jobs["count"].trigger(1)
        waits = [
            asyncio.create_task(durably.wait_for_run(run.id, timeout_ms=timeout, on_log=logs.append))
            for timeout in (None, 500)
        ]
        await settle()
        waits[0].cancel()
        clock.advance(500)
        await settle()
        assert waits[0].cancelled() and isinstance(waits[1].exception(), WaitTimeoutError)
        await durably.process_one()
        assert logs == []

    async def test_that_a_callback_fails_goes_to_on_error_and_disturbs_nothing(
        self, engine: Engine, settle: Settle
    ) -> None:
        errors: list[tuple[BaseException, Event]] = []

        def fail(progress: Progress) -> None:
            raise ValueError("a listener's own")

        durably = engine(count)
        durably.on_error(lambda error, event: errors.append((error, event)))
        run = await durably.jobs["count"].trigger(3)
        waiting = asyncio.create_task(durably.wait_for_run(run.id, on_progress=fail))
        await settle()
        await durably.process_one()
        await settle()
        assert waiting.result().status == "completed"
        assert [(str(error), event.type) for error, event in errors] == [("a listener's own", "run:progress")]

    async def test_may_be_told_to_an_async_function(self, engine: Engine, settle: Settle) -> None:
        seen: list[object] = []

        async def note(news: object) -> None:
            seen.append(news)

        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        waiting = asyncio.create_task(durably.wait_for_run(run.id, on_progress=note, on_log=note))
        await settle()
        await durably.process_one()
        await settle()
        assert waiting.result().status == "completed"
        assert [type(news) for news in seen] == [LogWrite, Progress]


class TestTriggerAndWait:
    async def test_returns_the_typed_output(self, engine: Engine, at_once: AtOnce) -> None:
        progress: list[Progress] = []
        logs: list[LogWrite] = []
        async with engine(count) as durably:
            result = await at_once(
                durably.jobs["count"].trigger_and_wait(3, on_progress=progress.append, on_log=logs.append)
            )
            [run] = await durably.get_runs()
        output = Count(rows=3, day=date(2026, 1, 2))
        assert result == WaitResult(id=run.id, output=output, disposition="created")
        assert progress == [Progress(3, 3)] and [line.message for line in logs] == ["counting"]

    async def test_takes_the_options_of_a_trigger(self, engine: Engine, at_once: AtOnce) -> None:
        async with engine(count) as durably:
            options: dict[str, Any] = {
                "idempotency_key": "i",
                "concurrency_key": "c",
                "coalesce": "skip",
                "labels": {"a": "1"},
            }
            first = await at_once(durably.jobs["count"].trigger_and_wait(3, **options))
            again = await at_once(durably.jobs["count"].trigger_and_wait(4, **options))
            [run] = await durably.get_runs()
        assert (run.idempotency_key, run.concurrency_key, run.labels) == ("i", "c", {"a": "1"})
        assert (again.id, again.output.rows, again.disposition) == (first.id, 3, "idempotent")

    async def test_raises_what_the_trigger_or_the_wait_raises(
        self, engine: Engine, at_once: AtOnce, settle: Settle, clock: FakeClock
    ) -> None:
        durably = engine(count)
        handle = durably.jobs["count"]
        with pytest.raises(ValidationError, match="'count'"):
            await handle.trigger_and_wait("many")
        waiting = asyncio.create_task(handle.trigger_and_wait(1, timeout_ms=100))
        await settle()
        clock.advance(100)
        await settle()
        assert isinstance(waiting.exception(), WaitTimeoutError)
        await durably.init()
        with pytest.raises(RunFailedError, match="fewer rows than none"):
            await at_once(handle.trigger_and_wait(-1))
        await durably.stop()


class TestHandle:
    async def test_returns_runs_of_its_own_job_typed(self, engine: Engine) -> None:
        durably = engine(count, define_job("forever", run=forever))
        run = await durably.jobs["count"].trigger(3)
        await durably.process_one()
        handle, other = durably.jobs["count"], durably.jobs.forever
        found = await handle.get_run(run.id)
        assert found is not None and (found.input, found.output) == (3, Count(rows=3, day=date(2026, 1, 2)))
        assert await handle.get_runs(status="completed") == [found]
        assert await other.get_run(run.id) is None and await other.get_runs() == []
        assert await handle.get_run("no-such-run") is None

    async def test_reads_no_output_where_there_is_none(self, engine: Engine, interrupt: Interrupt) -> None:
        durably = engine(count, define_job("forever", output=Count, run=forever))
        failed = await durably.jobs["count"].trigger(-1)
        await durably.process_one()
        waiting = await durably.jobs.forever.trigger(None)
        await interrupt(durably)
        for handle, run in ((durably.jobs["count"], failed), (durably.jobs.forever, waiting)):
            found = await handle.get_run(run.id)
            assert found is not None and found.output is None
