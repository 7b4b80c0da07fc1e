"""A run ends once, as completed or failed: with what the job returned or raised, after all that it had to say."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, field_validator

from durably_wasm import (
    Event,
    JobDefinition,
    Progress,
    RunCancelledError,
    StepContext,
    StoreError,
    define_job,
    with_log_persistence,
)
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Execute, Intercept, Interrupt, Record, Settle

NOON = "2026-01-01T00:00:00.000Z"  # where a FakeClock starts


class Count(BaseModel):
    imported: int
    day: date


class Picky(BaseModel):
    """Its validator has a fault of its own, which pydantic passes on as it is."""

    value: int

    @field_validator("value")
    @classmethod
    def check(cls, value: int) -> int:
        return {1: 1}[value]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class ShopClosedError(Exception):
    """An exception with a qualified name."""


def job_of(function: Callable[[StepContext], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    """Make a job without input."""
    return define_job("job", input=None, output=Any, run=function)


def of_type(events: list[Event], type: str) -> list[Any]:
    return [event for event in events if event.type == type]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


class TestOutput:
    @pytest.mark.parametrize(
        "output", [Count(imported=3, day=date(2026, 1, 2)), {"imported": "3", "day": "2026-01-02"}]
    )
    async def test_is_validated_and_the_validated_value_is_stored(self, engine: Engine, output: object) -> None:
        @define_job("count")
        async def job(step: StepContext) -> Count:
            return output  # type: ignore[return-value]

        durably = engine(job)
        run = await durably.jobs["count"].trigger()
        await durably.process_one()
        stored = await durably.get_run(run.id)
        assert stored is not None and stored.output == {"imported": 3, "day": "2026-01-02"}
        typed = await durably.jobs["count"].get_run(run.id)
        assert typed is not None and typed.output == Count(imported=3, day=date(2026, 1, 2))

    async def test_that_does_not_fit_fails_the_run(self, execute: Execute) -> None:
        @define_job("count")
        async def job(step: StepContext) -> Count:
            return {"imported": "many"}  # type: ignore[return-value]

        run, events = await execute(job)
        assert run.status == "failed" and run.output is None
        assert run.error is not None and run.error.startswith("Invalid output: ")
        assert "imported: " in run.error and "day: " in run.error
        assert types(events) == ["run:trigger", "run:leased", "run:fail"]

    @pytest.mark.parametrize(
        ("output", "named"), [(object(), "object"), ({1: 2}, "int"), ([math.nan], "nan")], ids=["object", "key", "nan"]
    )
    async def test_that_json_cannot_hold_fails_the_run(self, execute: Execute, output: object, named: str) -> None:
        async def job(step):
            return output

        run, _ = await execute(define_job("job", run=job))
        assert run.status == "failed" and run.error is not None
        assert run.error.startswith("Invalid output: ") and named in run.error

    async def test_may_be_nothing(self, execute: Execute) -> None:
        async def job(step: StepContext) -> None: ...

        run, events = await execute(define_job("job", run=job))
        assert (run.status, run.output, run.error) == ("completed", None, None)
        assert of_type(events, "run:complete")[0].output is None

    async def test_fails_the_run_when_its_validation_has_a_fault(self, execute: Execute) -> None:
        @define_job("picky")
        async def job(step: StepContext) -> Picky:
            return {"value": 2}  # type: ignore[return-value]

        run, _ = await execute(job)
        assert run.status == "failed" and run.error is not None and "2" in run.error


class TestInput:
    async def test_that_does_not_fit_any_more_fails_the_run(self, engine: Engine) -> None:
        calls: list[object] = []

        async def job(step, input):
            calls.append(input)

        old = engine(define_job("job", input=dict[str, int], run=job))
        run = await old.jobs.job.trigger({"imported": 1})
        new = engine(define_job("job", input=Count, run=job))
        await new.process_one()
        ended = await new.get_run(run.id)
        assert ended is not None and ended.status == "failed" and ended.error is not None
        assert ended.error.startswith("Invalid input: ") and "day: " in ended.error
        assert calls == []

    async def test_fails_the_run_when_its_validation_has_a_fault(self, engine: Engine, at_once: AtOnce) -> None:
        async def job(step, input): ...

        old = engine(define_job("job", input=dict[str, int], run=job))
        run = await old.jobs.job.trigger({"value": 2})
        new = engine(define_job("job", input=Picky, run=job))
        await at_once(new.process_one())
        ended = await new.get_run(run.id)
        assert ended is not None and ended.status == "failed"


class TestException:
    async def test_fails_the_run_with_message_type_and_traceback(self, execute: Execute, clock: FakeClock) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("fine", int)
            clock.advance(20)
            deeper()

        def deeper() -> None:
            raise ShopClosedError("come back tomorrow")

        run, events = await execute(job)
        assert (run.status, run.error) == ("failed", "come back tomorrow")
        assert run.error_type == f"{__name__}.ShopClosedError"
        assert (run.lease_owner, run.lease_expires_at, run.completed_at) == (None, None, "2026-01-01T00:00:00.020Z")
        failed = events[-1]
        assert asdict(failed) == {
            "type": "run:fail",
            "timestamp": "2026-01-01T00:00:00.020Z",
            "sequence": len(events),
            "run_id": run.id,
            "job_name": "job",
            "labels": {},
            "error": "come back tomorrow",
            "failed_step_name": "unknown",
        }

    async def test_has_a_traceback_that_begins_in_the_job(self, execute: Execute) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            deeper()

        def deeper() -> None:
            try:
                int("x")
            except ValueError as error:
                raise ShopClosedError("come back tomorrow") from error

        run, _ = await execute(job)
        assert run.error_traceback is not None
        cause, trace = run.error_traceback.split("The above exception was the direct cause")
        assert "ValueError: invalid literal" in cause
        frames = [line.strip() for line in trace.splitlines() if line.startswith('  File "')]
        assert [frame.rsplit(" ", 1)[1] for frame in frames] == ["job", "deeper"]
        assert all(f'"{__file__}"' in frame for frame in frames)
        assert trace.rstrip().endswith("ShopClosedError: come back tomorrow")

    async def test_of_a_built_in_type_is_named_without_a_module(self, execute: Execute) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            raise ValueError

        run, _ = await execute(job)
        assert (run.error, run.error_type) == ("ValueError", "ValueError")

    @pytest.mark.parametrize("inside", ["a step", "the job"])
    async def test_without_words_fails_the_run_too(self, execute: Execute, inside: str) -> None:
        def fail() -> None:
            raise Unprintable

        @job_of
        async def job(step: StepContext) -> None:
            if inside == "a step":
                await step.run("fail", fail)
            fail()

        run, _ = await execute(job)
        assert (run.status, run.error_type) == ("failed", f"{__name__}.Unprintable")


class TestFailedStepName:
    async def test_is_the_first_step_that_failed(self, execute: Execute) -> None:
        def fail() -> None:
            raise ValueError("no")

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("fine", int)
            for name in ("first", "second"):
                try:
                    await step.run(name, fail)
                except ValueError:
                    await step.run(f"after {name}", int)
            raise OSError("at last")

        run, events = await execute(job)
        assert run.error == "at last"
        assert of_type(events, "run:fail")[0].failed_step_name == "first"

    async def test_belongs_to_the_last_attempt(
        self, engine: Engine, record: Record, interrupt: Interrupt, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()

        def fail() -> None:
            raise ValueError("no")

        @job_of
        async def job(step: StepContext) -> None:
            if not gate.is_set():
                try:
                    await step.run("earlier", fail)
                except ValueError:
                    await gate.wait()
            raise OSError("at last")

        durably = engine(job)
        events = record(durably)
        await durably.jobs.job.trigger()
        await interrupt(durably)
        gate.set()
        await at_once(durably.process_one())
        assert of_type(events, "run:fail")[0].failed_step_name == "unknown"


class TestCompletion:
    async def test_is_told_with_the_output_and_the_attempts_duration(
        self, engine: Engine, record: Record, interrupt: Interrupt, clock: FakeClock, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> dict[str, int]:
            clock.advance(700)
            await gate.wait()
            clock.advance(55)
            return {"rows": 3}

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger(labels={"a": "1"})
        await interrupt(durably)
        clock.advance(3_000)
        gate.set()
        await at_once(durably.process_one())
        at = "2026-01-01T00:00:04.455Z"
        assert asdict(events[-1]) == {
            "type": "run:complete",
            "timestamp": at,
            "sequence": len(events),
            "run_id": run.id,
            "job_name": "job",
            "labels": {"a": "1"},
            "output": {"rows": 3},
            "duration": 755,
        }
        ended = await durably.get_run(run.id)
        assert ended is not None and (ended.started_at, ended.completed_at) == (NOON, at)
        assert (ended.status, ended.output, ended.lease_owner) == ("completed", {"rows": 3}, None)


class TestProgress:
    async def test_returns_at_once_and_is_flushed_before_the_end(
        self, engine: Engine, record: Record, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            for n in range(5):
                step.progress(n, 5, f"row {n}")

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger(labels={"a": "1"})
        await at_once(durably.process_one())
        assert types(events) == ["run:trigger", "run:leased", *["run:progress"] * 5, "run:complete"]
        assert asdict(events[6]) == {
            "type": "run:progress",
            "timestamp": NOON,
            "sequence": 7,
            "run_id": run.id,
            "job_name": "job",
            "labels": {"a": "1"},
            "progress": {"current": 4, "total": 5, "message": "row 4"},
        }
        ended = await durably.get_run(run.id)
        assert ended is not None and ended.progress == Progress(4, 5, "row 4")

    @pytest.mark.parametrize("fails", [False, True])
    async def test_is_flushed_whatever_the_end(self, execute: Execute, fails: bool) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            step.progress(1)
            await step.run("one", int)
            step.progress(2)
            if fails:
                raise ValueError("no")

        run, events = await execute(job)
        assert run.progress == Progress(2)
        progress, end = "run:progress", "run:fail" if fails else "run:complete"
        assert types(events)[2:] == [progress, "step:start", "step:complete", progress, end]

    async def test_is_told_at_once_and_stored_ten_times_a_second_at_most(
        self, engine: Engine, record: Record, settle: Settle, clock: FakeClock, intercept: Intercept
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            for n in range(100):
                step.progress(n)
                await clock.sleep(10)
            await gate.wait()

        store = intercept(MemoryStore())
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        for _ in range(120):
            await settle()
            clock.advance(10)
        await settle()
        assert [event.progress.current for event in of_type(events, "run:progress")] == [*range(100)]
        assert store.calls.count("update_progress") == 11
        found = await durably.get_run(run.id)
        assert found is not None and found.progress == Progress(99)
        gate.set()
        await settle()
        assert task.done() and store.calls.count("update_progress") == 11

    async def test_is_told_before_progress_returns(self, execute: Execute, engine: Engine, at_once: AtOnce) -> None:
        heard: list[float] = []
        seen: list[list[float]] = []

        @job_of
        async def job(step: StepContext) -> None:
            def compute() -> None:
                for n in range(3):
                    step.progress(n)
                    seen.append([*heard])

            await step.run("compute", compute)

        durably = engine(job)
        durably.on("run:progress", lambda event: heard.append(event.progress.current))
        await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        assert seen == [[0], [0, 1], [0, 1, 2]]

    async def test_that_cannot_be_stored_is_told_and_does_not_disturb(
        self, engine: Engine, record: Record, intercept: Intercept, at_once: AtOnce
    ) -> None:
        async def fail() -> None:
            raise StoreError("disk full")

        @job_of
        async def job(step: StepContext) -> str:
            step.progress(1)
            return "done"

        store = intercept(MemoryStore())
        store.before("update_progress", fail)
        durably = engine(job, store=store)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        [error] = of_type(events, "worker:error")
        assert (error.error, error.context, error.run_id) == ("disk full", "progress", run.id)
        assert types(events)[-1] == "run:complete" and len(of_type(events, "run:progress")) == 1

    @pytest.mark.parametrize(
        "values",
        [(math.nan,), (1, math.inf), (object(),)],
        ids=["nan", "infinite total", "no number"],
    )
    async def test_that_json_cannot_hold_reaches_nobody(self, execute: Execute, values: tuple[Any, ...]) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            step.progress(*values)

        run, events = await execute(job)
        assert run.status in ("completed", "failed")
        assert run.progress is None and of_type(events, "run:progress") == []

    async def test_of_a_cancelled_run_is_not_stored(self, engine: Engine, record: Record, settle: Settle) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            step.progress(1)
            try:
                await asyncio.Event().wait()
            finally:
                step.progress(2)

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        await settle()
        assert task.done()
        found = await durably.get_run(run.id)
        assert found is not None and found.progress == Progress(1)
        assert types(events)[-1] == "run:cancel"


class TestLogLines:
    async def test_are_told_with_step_level_and_data(self, execute: Execute) -> None:
        class Odd:
            def __repr__(self) -> str:
                return "<odd>"

        @job_of
        async def job(step: StepContext) -> None:
            step.log.info("begins", {"at": date(2026, 1, 2), "odd": Odd(), "class": Progress})
            await step.run("work", lambda: step.log.warn("careful", [1, (2,)]))
            step.log.error("over", math.nan)

        run, events = await execute(job)
        lines = of_type(events, "log:write")
        assert asdict(lines[0]) == {
            "type": "log:write",
            "timestamp": NOON,
            "sequence": 3,
            "run_id": run.id,
            "job_name": "job",
            "labels": {},
            "step_name": None,
            "level": "info",
            "message": "begins",
            "data": {"at": "2026-01-02", "odd": "<odd>", "class": "<class 'durably_wasm.models.Progress'>"},
        }
        assert [(line.level, line.message, line.step_name, line.data) for line in lines[1:]] == [
            ("warn", "careful", "work", [1, [2]]),
            ("error", "over", None, "nan"),
        ]

    async def test_are_not_stored_without_the_plugin(self, execute: Execute, store: MemoryStore) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            step.log.info("begins")

        run, _ = await execute(job)
        assert await store.get_logs(run.id) == []

    @pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
    async def test_are_stored_in_order_before_the_end_is_written(
        self, engine: Engine, settle: Settle, store: MemoryStore, intercept: Intercept, end: str
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("work", lambda: [step.log.info(f"line {n}", n) for n in range(3)] and None)
            try:
                if end == "cancelled":
                    await asyncio.Event().wait()
            finally:
                step.log.warn("last words")
            if end == "failed":
                raise ValueError("no")

        writing = asyncio.Event()
        slow = intercept(store)
        slow.before("create_log", *[writing.wait] * 10)
        durably = engine(job, store=slow)
        assert durably.use(with_log_persistence()) is durably
        stored_at_end: list[int] = []
        for type in ("run:complete", "run:fail"):
            durably.on(type, lambda event: stored_at_end.append(len(store._logs[event.run_id])))
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        if end == "cancelled":
            await durably.cancel(run.id)
            await settle()
        assert not task.done() and stored_at_end == []
        writing.set()
        await settle()
        assert task.done()
        logs = await durably.get_logs(run.id)
        assert [(log.message, log.step_name, log.level, log.data) for log in logs] == [
            *((f"line {n}", "work", "info", n) for n in range(3)),
            ("last words", None, "warn", None),
        ]
        assert {(log.run_id, log.created_at) for log in logs} == {(run.id, NOON)}
        assert stored_at_end == ([] if end == "cancelled" else [4])
        assert await durably.get_steps(run.id) == []  # the lines outlive the steps

    async def test_that_cannot_be_stored_are_told_and_do_not_disturb(
        self, engine: Engine, record: Record, intercept: Intercept, at_once: AtOnce
    ) -> None:
        async def fail() -> None:
            raise StoreError("disk full")

        @job_of
        async def job(step: StepContext) -> None:
            step.log.info("lost")
            step.log.info("kept")

        store = intercept(MemoryStore())
        store.before("create_log", fail)
        durably = engine(job, store=store).use(with_log_persistence())
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        [error] = of_type(events, "worker:error")
        assert (error.error, error.context, error.run_id) == ("disk full", "log", run.id)
        assert [log.message for log in await durably.get_logs(run.id)] == ["kept"]
        assert types(events)[-1] == "run:complete"


class TestOrder:
    async def test_of_a_runs_events(self, engine: Engine, record: Record, at_once: AtOnce) -> None:
        def fail() -> None:
            raise ValueError("no")

        @job_of
        async def job(step: StepContext) -> None:
            step.log.info("begins")
            await step.run("one", int)
            step.progress(1, 2)
            try:
                await step.run("two", fail)
            except ValueError:
                step.log.warn("goes on")
            step.progress(2, 2)

        durably = engine(job).use(with_log_persistence())
        events = record(durably)
        run = await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert {event.run_id for event in events} == {run.id}
        assert [type for type in types(events) if type != "run:progress"] == [
            "run:trigger",
            "run:leased",
            "log:write",
            "step:start",
            "step:complete",
            "step:start",
            "step:fail",
            "log:write",
            "run:complete",
        ]
        assert types(events)[-2] == "run:progress"

    async def test_of_an_end_follows_the_commit(self, engine: Engine, store: MemoryStore, at_once: AtOnce) -> None:
        seen: list[str] = []

        @define_job("job")
        async def job(step: StepContext, fails: bool) -> None:
            if fails:
                raise ValueError("no")

        durably = engine(job)
        for type in ("run:complete", "run:fail", "run:cancel"):
            durably.on(type, lambda event: seen.append(store._runs[event.run_id].status))
        for fails in (False, True):
            await durably.jobs.job.trigger(fails)
            await at_once(durably.process_one())
        await durably.cancel((await durably.jobs.job.trigger(False)).id)
        assert seen == ["completed", "failed", "cancelled"]


async def test_a_run_that_was_cancelled_leaves_no_steps_and_no_end(
    engine: Engine, record: Record, settle: Settle
) -> None:
    @job_of
    async def job(step: StepContext) -> None:
        await step.run("one", int)
        await asyncio.Event().wait()

    for preserve, left in ((False, []), (True, ["one"])):
        durably = engine(job, preserve_steps=preserve)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        await durably.cancel(run.id)
        await settle()
        assert task.done() and types(events)[-1] == "run:cancel"
        assert [step.name for step in await durably.get_steps(run.id)] == left
        with pytest.raises(RunCancelledError):
            await durably.wait_for_run(run.id)
