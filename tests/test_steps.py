"""A step runs once: its result is stored, and is the same value when it is made and when it is read again."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from durably_wasm import ConflictError, Event, JobDefinition, Step, StepContext, StopExecution, define_job
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from sqlite3 import Connection  # not there at run time

    from conftest import AtOnce, Engine, Execute, Interrupt, Record, Settle

NOON = "2026-01-01T00:00:00.000Z"  # where a FakeClock starts


class Row(BaseModel):
    name: str
    day: date


@dataclass
class Point:
    x: int
    tag: bytes = b""


class Address(TypedDict):
    street: str
    moved: date


class Colour(Enum):
    RED = "red"


class Corner(NamedTuple):
    x: int
    y: int


class Defaults(BaseModel):
    corner: Corner = Corner(1, 2)
    kind: dict[str, str] = {"type": "model"}


class Blob(BaseModel):
    data: bytes
    parts: list[Blob] = []


class OwnRules(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")

    data: bytes


class Corners(Enum):
    """Its values are no JSON, and what JSON makes of them is no value of it."""

    FIRST = (0, 0)


class Unknown:
    """Nothing that pydantic could make JSON of."""


def job_of(function: Callable[[StepContext], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    """Make a job without input."""
    return define_job("job", input=None, output=Any, run=function)


def of_type(events: list[Event], *types: str) -> list[Any]:
    return [event for event in events if event.type in types]


def told(events: list[Event]) -> list[tuple[str, str]]:
    """Return type and step of the steps' events."""
    return [(event.type, event.step_name) for event in events if event.type.startswith("step:")]


class TestReplay:
    async def test_returns_what_is_stored_without_a_call_or_an_event(
        self, engine: Engine, record: Record, interrupt: Interrupt, at_once: AtOnce
    ) -> None:
        calls: list[str] = []
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> list[int]:
            first = await step.run("first", lambda: calls.append("first") or 1)
            second = await step.run("second", lambda: calls.append("second") or 2)
            await gate.wait()
            third = await step.run("third", lambda: calls.append("third") or 3)
            return [first, second, third]

        durably = engine(job)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        events = record(durably)
        gate.set()
        await at_once(durably.process_one())
        ended = await durably.get_run(run.id)
        assert ended is not None and (ended.output, ended.lease_generation) == ([1, 2, 3], 2)
        assert calls == ["first", "second", "third"]
        assert told(events) == [("step:start", "third"), ("step:complete", "third")]

    async def test_may_be_read_more_than_once(self, engine: Engine, interrupt: Interrupt, at_once: AtOnce) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> list[object]:
            first = await step.run("first", lambda: [1])
            await gate.wait()
            first.append(2)
            return [first, await step.run("first", lambda: [3]), await step.run("first", lambda: [4])]

        durably = engine(job)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        gate.set()
        await at_once(durably.process_one())
        ended = await durably.get_run(run.id)
        assert ended is not None and ended.output == [[1, 2], [1], [1]]

    async def test_keeps_indexes_and_gives_new_steps_the_highest_and_one(
        self, engine: Engine, record: Record, interrupt: Interrupt, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            if not gate.is_set():
                async with asyncio.TaskGroup() as group:
                    group.create_task(step.run("slow", gate.wait))
                    group.create_task(step.run("quick", int))
            await step.run("new", int)
            await step.run("slow", int)

        durably = engine(job, preserve_steps=True)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        gate.set()
        await at_once(durably.process_one())
        steps = {step.name: step.index for step in await durably.get_steps(run.id)}
        assert steps == {"quick": 1, "new": 2, "slow": 3}  # "slow" left no row, so its first index went with it

    async def test_executes_a_failed_step_again_under_its_index(
        self, engine: Engine, interrupt: Interrupt, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()

        def fragile() -> int:
            return 1 if gate.is_set() else math.ceil(math.nan)

        @job_of
        async def job(step: StepContext) -> int:
            try:
                value = await step.run("fragile", fragile)
            except ValueError:
                value = await step.run("after", int)
            await gate.wait()
            return value

        durably = engine(job, preserve_steps=True)
        run = await durably.jobs.job.trigger()
        await interrupt(durably)
        gate.set()
        await at_once(durably.process_one())
        ended = await durably.get_run(run.id)
        assert ended is not None and ended.output == 1
        steps = [(step.name, step.index, step.status) for step in await durably.get_steps(run.id)]
        assert steps == [("fragile", 0, "completed"), ("after", 1, "completed")]


VALUES: list[tuple[object, object, object]] = [  # declared type (None: undeclared), result, what the job gets
    (None, None, None),
    (None, {"a": (1, 2.0), "b": [True, None, "é"]}, {"a": [1, 2.0], "b": [True, None, "é"]}),
    (None, Row(name="a", day=date(2026, 1, 2)), {"name": "a", "day": "2026-01-02"}),
    (None, [Point(1)], [{"x": 1, "tag": ""}]),
    (None, datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    (None, Colour.RED, "red"),
    (None, b"\xff", "_w=="),
    (None, {1, 2}, [1, 2]),
    (Row, Row(name="a", day=date(2026, 1, 2)), Row(name="a", day=date(2026, 1, 2))),
    (Row, {"name": "a", "day": "2026-01-02"}, Row(name="a", day=date(2026, 1, 2))),
    (list[Row], [Row(name="a", day=date(2026, 1, 2))], [Row(name="a", day=date(2026, 1, 2))]),
    (Row | None, None, None),
    (Point, Point(1, b"ab"), Point(1, b"ab")),
    (list[Point], [Point(1, b"\xff")], [Point(1, b"\xff")]),
    (Point, Point(1, b"\xff"), Point(1, b"\xff")),
    (Address, {"street": "a", "moved": date(2026, 1, 2)}, {"street": "a", "moved": date(2026, 1, 2)}),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
    (timedelta, timedelta(days=1, microseconds=5), timedelta(days=1, microseconds=5)),
    (dict[int, int], {1: 2}, {1: 2}),
    (dict[int, int], {"1": "2"}, {1: 2}),
    (set[int], {1, 2}, {1, 2}),
    (tuple[int, ...], [1, 2], (1, 2)),
    (bytes, b"\xff\x00", b"\xff\x00"),
    (Blob, Blob(data=b"\xff", parts=[Blob(data=b"\xfe")]), Blob(data=b"\xff", parts=[Blob(data=b"\xfe")])),
    (OwnRules, OwnRules(data=b"\xff"), OwnRules(data=b"\xff")),
    (Defaults, Defaults(), Defaults(corner=Corner(1, 2), kind={"type": "model"})),
    (Decimal, Decimal("1.10"), Decimal("1.10")),
    (UUID, UUID(int=7), UUID(int=7)),
    (Colour, Colour.RED, Colour.RED),
    (int, 10**30, 10**30),
    (float, 1, 1.0),
]


class TestValue:
    @pytest.mark.parametrize(("declared", "result", "expected"), VALUES, ids=[f"{v[0]} {v[1]!r}" for v in VALUES])
    @pytest.mark.parametrize("how", ["annotation", "returns"])
    async def test_is_the_same_live_and_replayed(
        self,
        engine: Engine,
        interrupt: Interrupt,
        at_once: AtOnce,
        how: str,
        declared: object,
        result: object,
        expected: object,
    ) -> None:
        got: list[object] = []
        gate = asyncio.Event()

        def make() -> Any:
            return result

        if how == "annotation" and declared is not None:
            make.__annotations__ = {"return": declared}
        returns = declared if how == "returns" else None

        @job_of
        async def job(step: StepContext) -> None:
            got.append(await step.run("make", make, returns=returns))
            await gate.wait()

        durably = engine(job)
        await durably.jobs.job.trigger()
        await interrupt(durably)
        gate.set()
        await at_once(durably.process_one())
        assert got == [expected, expected]
        assert [type(value) for value in got] == [type(expected)] * 2

    async def test_is_not_aliased(self, execute: Execute) -> None:
        kept: list[int] = [1]

        @job_of
        async def job(step: StepContext) -> list[object]:
            value = await step.run("make", lambda: kept)
            kept.append(2)
            value.append(3)
            return [value, await step.run("make", lambda: kept)]

        run, _ = await execute(job)
        assert run.output == [[1, 3], [1]]

    async def test_has_the_type_that_returns_says_before_the_annotation(self, execute: Execute) -> None:
        def make() -> str:
            return "2026-01-02"

        @job_of
        async def job(step: StepContext) -> str:
            return repr(await step.run("make", make, returns=date))

        run, _ = await execute(job)
        assert run.output == "datetime.date(2026, 1, 2)"

    async def test_has_the_type_that_an_async_function_returns(self, execute: Execute) -> None:
        async def coroutine() -> date:
            return date(2026, 1, 2)

        def awaitable() -> Awaitable[date]:
            return coroutine()

        @job_of
        async def job(step: StepContext) -> list[str]:
            functions = [coroutine, awaitable, functools.partial(coroutine)]
            return [repr(await step.run(f"step-{n}", function)) for n, function in enumerate(functions)]

        run, _ = await execute(job)
        assert run.output == ["datetime.date(2026, 1, 2)"] * 3

    async def test_has_the_type_of_a_callable_objects_call(self, execute: Execute) -> None:
        class Calendar:
            start: Row  # an attribute's annotation has no say

            def __call__(self) -> date:
                return date(2026, 1, 2)

            def first(self) -> date:
                return self()

        @job_of
        async def job(step: StepContext) -> list[str]:
            return [repr(await step.run("method", Calendar().first)), repr(await step.run("object", Calendar()))]

        run, _ = await execute(job)
        assert run.output == ["datetime.date(2026, 1, 2)"] * 2

    async def test_needs_no_other_annotation_than_the_returned_one(self, execute: Execute) -> None:
        def count(connection: Connection | None) -> set[int]:
            return {1}

        @job_of
        async def job(step: StepContext) -> str:
            return repr(await step.run("count", count, None))

        run, _ = await execute(job)
        assert run.output == "{1}"

    async def test_has_the_first_type_of_a_union_that_fits(self, execute: Execute) -> None:
        class Left(BaseModel):
            x: int

        class Right(BaseModel):
            x: int

        @job_of
        async def job(step: StepContext) -> list[str]:
            return [
                repr(await step.run(f"step-{n}", lambda: {"x": 1}, returns=declared))
                for n, declared in enumerate((list[Left] | Left | Right, list[Left] | Right | Left))
            ]

        run, _ = await execute(job)
        assert run.output == ["Left(x=1)", "Right(x=1)"]

    async def test_may_be_of_a_local_class(self, execute: Execute) -> None:
        class Local(BaseModel):
            x: int

        def make() -> Local:
            return Local(x=1)

        @job_of
        async def job(step: StepContext) -> str:
            return repr(await step.run("make", make))

        run, _ = await execute(job)
        assert run.output == "Local(x=1)"


def looped() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


class TestUnstorableResult:
    @pytest.mark.parametrize(
        ("make", "type_name"),
        [
            (lambda: Unknown(), "Unknown"),
            (lambda: {"deep": [Unknown()]}, "Unknown"),
            (lambda: {1: 2}, "int"),
            (lambda: {None: 2}, "NoneType"),
            (lambda: {(1, 2): 2}, "tuple"),
            (lambda: [math.nan], "float"),
            (lambda: math.inf, "float"),
            (lambda: len, "builtin"),
            (looped, "list"),
        ],
        ids=["object", "deep", "int-key", "none-key", "tuple-key", "nan", "inf", "function", "loop"],
    )
    async def test_fails_the_step_and_names_it_and_the_type(
        self, execute: Execute, make: Callable[[], object], type_name: str
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            make.__annotations__ = {}
            await step.run("compute", make)

        run, events = await execute(job)
        assert run.status == "failed" and run.error is not None
        assert "'compute'" in run.error and type_name in run.error
        assert told(events) == [("step:start", "compute"), ("step:fail", "compute")]
        assert (run.error_type, of_type(events, "step:fail")[0].error) == ("TypeError", run.error)

    @pytest.mark.parametrize(
        ("declared", "result", "fault"),
        [
            (int, "many", "integer"),
            (Row, {"name": "a"}, "day: Field required"),
            (list[int], [1, "x"], "1: "),
            (float, math.nan, "nan"),
            (dict[str, Any], {"rate": math.nan}, "nan"),
            (list, [math.inf], "inf"),
            (Corners, Corners.FIRST, "(0, 0)"),
            (Unknown, Unknown(), "Unknown"),
        ],
        ids=["int", "model", "list", "float", "nan-in-dict", "inf-in-list", "no-way-back", "unknown-type"],
    )
    async def test_does_not_fit_the_declared_type(
        self, execute: Execute, declared: object, result: object, fault: str
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("compute", lambda: result, returns=declared)

        run, events = await execute(job)
        assert run.status == "failed" and run.error is not None
        assert "'compute'" in run.error and fault in run.error
        assert told(events) == [("step:start", "compute"), ("step:fail", "compute")]
        assert of_type(events, "run:fail")[0].failed_step_name == "compute"


class TestFailedStep:
    async def test_is_stored_told_and_raised_as_it_was(
        self, execute: Execute, clock: FakeClock, store: MemoryStore
    ) -> None:
        error = KeyError("no such row")
        caught: list[BaseException] = []
        stored: list[Step] = []

        def fail() -> None:
            clock.advance(250)
            raise error

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("fine", int)
            try:
                await step.run("fail", fail)
            except KeyError as raised:
                caught.append(raised)
            stored.extend(await store.get_steps(step.run_id))

        run, events = await execute(job)
        assert caught == [error] and caught[0] is error
        assert run.status == "completed"
        assert (stored[1].name, stored[1].index, stored[1].status, stored[1].output) == ("fail", 1, "failed", None)
        assert (stored[1].error, stored[1].started_at) == ("'no such row'", NOON)
        assert stored[1].completed_at == "2026-01-01T00:00:00.250Z"
        [failed] = of_type(events, "step:fail")
        assert asdict(failed) == {
            "type": "step:fail",
            "timestamp": "2026-01-01T00:00:00.250Z",
            "sequence": failed.sequence,
            "run_id": run.id,
            "job_name": "job",
            "labels": {},
            "step_name": "fail",
            "step_index": 1,
            "error": "'no such row'",
        }

    async def test_can_be_caught_and_called_again_under_its_index(self, execute: Execute) -> None:
        calls: list[int] = []

        def third_time_lucky() -> int:
            calls.append(len(calls))
            if len(calls) < 3:
                raise OSError("try again")
            return len(calls)

        @job_of
        async def job(step: StepContext) -> int:
            await step.run("before", int)
            for _ in range(2):
                try:
                    return await step.run("fetch", third_time_lucky)
                except OSError:
                    await step.run("between", int)
            return await step.run("fetch", third_time_lucky)

        run, events = await execute(job)
        assert (run.status, run.output, calls) == ("completed", 3, [0, 1, 2])
        indexes = [(event.step_name, event.step_index) for event in of_type(events, "step:start")]
        assert indexes == [("before", 0), ("fetch", 1), ("between", 2), ("fetch", 1), ("fetch", 1)]
        assert told(events)[-2:] == [("step:start", "fetch"), ("step:complete", "fetch")]
        assert [line.message for line in of_type(events, "log:write")] == [
            "Step 'between' was called again in this run: the first result is returned"
        ]

    async def test_with_no_message_is_named_by_its_type(self, execute: Execute) -> None:
        async def fail() -> None:
            raise TimeoutError

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("fail", fail)

        run, events = await execute(job)
        assert (run.error, of_type(events, "step:fail")[0].error) == ("TimeoutError", "TimeoutError")


class TestNameUsedTwice:
    async def test_returns_the_first_result_and_warns_once(self, execute: Execute) -> None:
        @job_of
        async def job(step: StepContext) -> list[int]:
            return [await step.run("same", lambda n=n: n) for n in (1, 2, 3)]

        run, events = await execute(job)
        assert run.output == [1, 1, 1]
        assert told(events) == [("step:start", "same"), ("step:complete", "same")]
        [warning] = of_type(events, "log:write")
        assert (warning.level, warning.step_name) == ("warn", None)
        assert "'same'" in warning.message

    async def test_is_told_for_each_name(self, execute: Execute) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            for name in ("a", "b", "a", "b", "a"):
                await step.run(name, int)

        _, events = await execute(job)
        assert [line.message.split("'")[1] for line in of_type(events, "log:write")] == ["a", "b"]

    async def test_is_no_mistake_on_a_replay(
        self, engine: Engine, record: Record, interrupt: Interrupt, at_once: AtOnce
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("once", int)
            await gate.wait()

        durably = engine(job)
        events = record(durably)
        await durably.jobs.job.trigger()
        await interrupt(durably)
        gate.set()
        await at_once(durably.process_one())
        assert of_type(events, "log:write") == []


class TestParallelSteps:
    @pytest.mark.parametrize("how", ["gather", "TaskGroup"])
    async def test_have_indexes_in_order_of_start_and_their_own_log_lines(
        self, engine: Engine, record: Record, settle: Settle, how: str
    ) -> None:
        gates = {name: asyncio.Event() for name in "abc"}

        @job_of
        async def job(step: StepContext) -> list[str]:
            async def work(name: str) -> str:
                step.log.info(f"{name} begins")
                await gates[name].wait()
                step.log.info(f"{name} ends")
                return name.upper()

            steps = [step.run(name, work, name) for name in "abc"]
            if how == "gather":
                results = list(await asyncio.gather(*steps))
            else:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(work) for work in steps]
                results = [task.result() for task in tasks]
            step.log.info("all end")
            return [*results, await step.run("last", str)]

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        for name in "cab":
            await settle()
            gates[name].set()
        await settle()
        assert task.done()
        ended = await durably.get_run(run.id)
        assert ended is not None and ended.output == ["A", "B", "C", ""]
        starts = [(event.step_name, event.step_index) for event in of_type(events, "step:start")]
        assert starts == [("a", 0), ("b", 1), ("c", 2), ("last", 3)]
        completes = [(event.step_name, event.step_index) for event in of_type(events, "step:complete")]
        assert completes == [("c", 2), ("a", 0), ("b", 1), ("last", 3)]
        lines = {line.message: line.step_name for line in of_type(events, "log:write")}
        expected = {f"{name} {what}": name for name in "abc" for what in ("begins", "ends")}
        assert lines == {**expected, "all end": None}

    async def test_of_one_name_are_a_conflict_in_the_second(
        self, engine: Engine, record: Record, settle: Settle
    ) -> None:
        gate = asyncio.Event()

        @job_of
        async def job(step: StepContext) -> list[str]:
            results = await asyncio.gather(
                step.run("same", gate.wait), step.run("same", gate.wait), return_exceptions=True
            )
            return [f"{type(result).__name__}: {result}" for result in results]

        durably = engine(job)
        events = record(durably)
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        gate.set()
        await settle()
        assert task.done()
        ended = await durably.get_run(run.id)
        assert ended is not None and isinstance(ended.output, list)
        first, second = ended.output
        assert first == "bool: True"
        assert str(second).startswith(f"{ConflictError.__name__}: Step 'same' of run {run.id}")
        assert told(events) == [("step:start", "same"), ("step:complete", "same")]

    async def test_left_running_when_the_job_ends_are_cancelled_before_the_end_is_written(
        self, execute: Execute
    ) -> None:
        cleaned: list[bool] = []
        tasks: list[asyncio.Task[Any]] = []

        @job_of
        async def job(step: StepContext) -> str:
            async def hang() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    cleaned.append(True)

            tasks.append(asyncio.create_task(step.run("hang", hang)))
            await step.run("first", int)
            await asyncio.sleep(0)
            return "ended"

        run, events = await execute(job)
        assert (run.status, run.output, cleaned) == ("completed", "ended", [True])
        assert tasks[0].cancelled()
        ends = [event.type for event in of_type(events, "step:cancel", "run:complete")]
        assert ends == ["step:cancel", "run:complete"]
        assert of_type(events, "step:fail") == []

    async def test_cannot_begin_after_the_job_has_ended(
        self, engine: Engine, record: Record, settle: Settle, at_once: AtOnce
    ) -> None:
        calls: list[str] = []
        gate = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        @job_of
        async def job(step: StepContext) -> None:
            async def late() -> None:
                await gate.wait()
                await step.run("late", lambda: calls.append("late"))

            tasks.append(asyncio.create_task(late()))

        durably = engine(job)
        events = record(durably)
        await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        gate.set()
        await settle()
        assert isinstance(tasks[0].exception(), StopExecution)
        assert (calls, told(events)) == ([], [])


class TestFunction:
    async def test_may_be_plain_async_or_anything_that_is_called(self, execute: Execute) -> None:
        class Adder:
            def __call__(self, a: int, b: int) -> int:
                return a + b

            async def add(self, a: int, b: int) -> int:
                return a + b

        async def add(a: int, b: int) -> int:
            await asyncio.sleep(0)
            return a + b

        @job_of
        async def job(step: StepContext) -> list[int]:
            return [
                await step.run("lambda", lambda a, b: a + b, 1, 2),
                await step.run("async", add, 1, b=2),
                await step.run("partial", functools.partial(add, 1), b=2),
                await step.run("object", Adder(), 1, 2),
                await step.run("method", Adder().add, b=2, a=1),
                await step.run("awaitable", lambda: add(1, 2)),
                await step.run("built-in", max, 1, 3),
            ]

        run, _ = await execute(job)
        assert run.output == [3] * 7

    async def test_may_have_parameters_of_any_name(self, execute: Execute) -> None:
        def collect(**kwargs: int) -> dict[str, int]:
            return kwargs

        @job_of
        async def job(step: StepContext) -> dict[str, int]:
            return await step.run("collect", collect, name=1, fn=2, self=3, args=4)

        run, _ = await execute(job)
        assert run.output == {"name": 1, "fn": 2, "self": 3, "args": 4}


class TestTelling:
    async def test_of_a_start_and_a_completion(self, execute: Execute, clock: FakeClock) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("wait", lambda: clock.advance(1234))

        run, events = await execute(job)
        [start], [complete] = of_type(events, "step:start"), of_type(events, "step:complete")
        common = {"run_id": run.id, "job_name": "job", "labels": {}, "step_name": "wait", "step_index": 0}
        assert asdict(start) == {"type": "step:start", "timestamp": NOON, "sequence": start.sequence, **common}
        assert asdict(complete) == {
            "type": "step:complete",
            "timestamp": "2026-01-01T00:00:01.234Z",
            "sequence": start.sequence + 1,
            **common,
            "output": None,
            "duration": 1234,
        }

    async def test_follows_the_checkpoint(self, engine: Engine, at_once: AtOnce, store: MemoryStore) -> None:
        stored: list[bool] = []

        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", int)

        durably = engine(job)
        durably.on("step:complete", lambda event: stored.append("one" in store._steps[event.run_id]))
        await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        assert stored == [True]


class TestStoredSteps:
    @pytest.mark.parametrize("preserve", [False, True])
    async def test_go_with_the_runs_end_unless_preserved(self, engine: Engine, at_once: AtOnce, preserve: bool) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("one", lambda: {"rows": 1})

        durably = engine(job, preserve_steps=preserve)
        run = await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        steps = await durably.get_steps(run.id)
        assert [(step.name, step.index, step.status, step.output) for step in steps] == (
            [("one", 0, "completed", {"rows": 1})] if preserve else []
        )
        ended = await durably.get_run(run.id)
        assert ended is not None and (ended.current_step_index, ended.completed_step_count) == (1, 1)


async def test_steps_that_never_suspend_let_the_loop_run_within_a_frame(
    engine: Engine, interrupt: Interrupt, at_once: AtOnce
) -> None:
    turns: list[int] = []
    gate = asyncio.Event()

    def busy() -> None:
        end = time.perf_counter() + 0.017  # the one promise that is about real time: a turn every 16 ms
        while time.perf_counter() < end:
            pass

    @job_of
    async def job(step: StepContext) -> None:
        asyncio.get_running_loop().call_soon(turns.append, len(turns))
        if turns:
            busy()
        await step.run("busy", busy)
        turns.append(-1)
        await gate.wait()

    durably = engine(job)
    await durably.jobs.job.trigger()
    await interrupt(durably)
    assert turns == [0, -1]
    gate.set()
    await at_once(durably.process_one())
    assert turns == [0, -1, 2, -1]  # also when the step is only read
