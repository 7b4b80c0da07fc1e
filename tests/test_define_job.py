"""A job is made of a name, an async function and the types of its input and output."""

from __future__ import annotations

import functools
import re
from dataclasses import FrozenInstanceError, dataclass
from datetime import date
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from durably_wasm import ConflictError, JobDefinition, StepContext, ValidationError, define_job

if TYPE_CHECKING:
    from decimal import Decimal  # not there at run time

    from conftest import Engine, Execute


class Order(BaseModel):
    number: int
    due: date


@dataclass
class Parcel:
    weight: int


class Address(TypedDict):
    street: str


class Unknown:
    """Nothing that pydantic could make a schema of."""


async def ship(step: StepContext, order: Order) -> Parcel:
    return Parcel(weight=order.number)


async def echo(step, input):
    return input


class TestAnnotations:
    def test_declare_input_and_output_also_when_postponed(self) -> None:
        job = define_job("ship", run=ship)
        assert (job.name, job.input, job.output, job.run) == ("ship", Order, Parcel, ship)

    def test_make_the_job_as_a_decorator(self) -> None:
        @define_job("ship")
        async def decorated(step: StepContext, order: Order) -> Parcel:
            return await ship(step, order)

        assert isinstance(decorated, JobDefinition)
        assert (decorated.name, decorated.input, decorated.output) == ("ship", Order, Parcel)

    def test_may_be_evaluated_already(self) -> None:
        class Local(BaseModel):
            number: int

        async def run(step, input):
            return input

        run.__annotations__ = {"input": Local, "return": list[Local]}
        job = define_job("local", run=run)
        assert (job.input, job.output) == (Local, list[Local])

    def test_may_name_a_local_class_that_the_function_uses(self) -> None:
        class Local(BaseModel):
            number: int

        @define_job("local")
        async def job(step: StepContext, input: Local) -> Local:
            return Local(number=input.number)

        assert (job.input, job.output) == (Local, Local)

    def test_may_name_a_local_class_that_only_they_use(self) -> None:
        class Local(BaseModel):
            number: int

        @define_job("local")
        async def job(step: StepContext, input: Local) -> list[Local]:
            return [input]

        async def function(step: StepContext, input: Local) -> None: ...

        assert (job.input, job.output) == (Local, list[Local])
        assert define_job("function", run=function).input is Local

    def test_may_name_a_local_class_that_hides_a_global_one(self) -> None:
        class Order(BaseModel):
            local: bool

        @define_job("local")
        async def job(step: StepContext, input: Order) -> list[Order]:
            return [input]

        assert (job.input, job.output) == (Order, list[Order])

    def test_mean_what_they_mean_where_the_function_was_written(self) -> None:
        elsewhere = ModuleType("elsewhere")
        exec("async def run(step, order: 'Order') -> 'Local': ...\nOrder = Local = bytes", vars(elsewhere))

        class Local(BaseModel): ...

        job = define_job("elsewhere", run=elsewhere.run)
        assert (job.input, job.output) == (bytes, bytes)

    def test_give_way_to_explicit_types(self) -> None:
        job = define_job("ship", input=Address, output=int, run=ship)
        assert (job.input, job.output) == (Address, int)

    def test_are_not_looked_at_where_explicit_types_stand_for_all(self) -> None:
        async def pay(step: StepContext, amount: Decimal) -> Decimal: ...

        job = define_job("pay", input=int, output=int, run=pay)
        assert (job.input, job.output) == (int, int)

    def test_that_cannot_be_resolved_are_named(self) -> None:
        async def pay(step: StepContext, amount: Decimal) -> None: ...

        with pytest.raises(ValidationError, match=r"pay.*'Decimal' is not defined"):
            define_job("pay", run=pay)

    async def test_may_be_absent_and_then_nothing_is_validated(self, execute: Execute) -> None:
        run, _ = await execute(define_job("echo", run=echo), {"rows": [1, None, "x"]})
        assert run.output == {"rows": [1, None, "x"]}

    def test_of_a_bound_method_and_a_partial_function_count(self) -> None:
        class Shop:
            async def ship(self, step: StepContext, order: Order) -> Parcel: ...

        async def ship_by(carrier: str, step: StepContext, order: Order) -> Parcel: ...

        for function in (Shop().ship, functools.partial(ship_by, "rail")):
            job = define_job("ship", run=function)
            assert (job.input, job.output) == (Order, Parcel)


class TestTypes:
    @pytest.mark.parametrize(
        ("declared", "given", "stored"),
        [
            (list[Order], [{"number": "1", "due": "2026-01-02"}], [{"number": 1, "due": "2026-01-02"}]),
            (dict[int, date], {1: date(2026, 1, 2)}, {"1": "2026-01-02"}),
            (Parcel, {"weight": 3}, {"weight": 3}),
            (Address, {"street": "Hauptweg"}, {"street": "Hauptweg"}),
            (Annotated[int, Field(gt=0)], 1, 1),
            (Annotated[int, {"unhashable": "metadata"}], 1, 1),
            (Literal["a", "b"], "a", "a"),
            (int | None, None, None),
            (Any, {"any": "thing"}, {"any": "thing"}),
        ],
        ids=str,
    )
    async def test_are_whatever_pydantic_validates(
        self, engine: Engine, declared: object, given: object, stored: object
    ) -> None:
        durably = engine(define_job("echo", input=declared, run=echo))
        run = await durably.jobs.echo.trigger(given)
        found = await durably.get_run(run.id)
        assert found is not None and found.input == stored

    async def test_reach_the_function_as_themselves(self, execute: Execute) -> None:
        seen: list[object] = []

        @define_job("look")
        async def look(step: StepContext, input: Order) -> None:
            seen.append(input)

        await execute(look, {"number": 1, "due": "2026-01-02"})
        assert seen == [Order(number=1, due=date(2026, 1, 2))]

    @pytest.mark.parametrize("declared", [Unknown, list[Unknown], Unknown(), 5], ids=["class", "list", "object", "5"])
    @pytest.mark.parametrize("which", ["input", "output"])
    def test_that_pydantic_does_not_know_are_refused(self, which: str, declared: object) -> None:
        with pytest.raises(ValidationError, match=re.escape(f"{declared!r} is not a type")):
            define_job("job", run=echo, **{which: declared})

    async def test_that_are_nothing_but_a_name_are_refused(self, engine: Engine) -> None:
        with pytest.raises(ValidationError, match="Nowhere"):
            await engine(define_job("job", input="Nowhere", run=echo)).jobs.job.trigger(1)


class TestJobWithoutInput:
    async def test_is_called_with_the_step_context_alone(self, execute: Execute) -> None:
        @define_job("tick")
        async def tick(step: StepContext) -> str:
            return step.run_id

        run, _ = await execute(tick)
        assert (tick.input, run.input, run.output) == (None, None, run.id)

    async def test_is_triggered_with_none(self, engine: Engine) -> None:
        @define_job("tick")
        async def tick(step: StepContext) -> None: ...

        durably = engine(tick)
        with pytest.raises(ValidationError, match="tick"):
            await durably.jobs.tick.trigger({"number": 1})
        assert await durably.get_runs() == []


class TestDefinition:
    def test_is_immutable(self) -> None:
        job = define_job("ship", run=ship)
        with pytest.raises(FrozenInstanceError):
            job.name = "other"  # type: ignore[misc]

    @pytest.mark.parametrize("name", ["", None, 5, b"ship", ["ship"]])
    def test_needs_a_name(self, name: Any) -> None:
        with pytest.raises(ValidationError, match="name") as raised:
            define_job(name, run=ship)
        assert repr(name) in str(raised.value)
        with pytest.raises(ValidationError, match="name"):
            define_job(name)

    def test_needs_an_async_function(self) -> None:
        def plain(step, input): ...

        async def generator(step, input):
            yield input

        for function in (plain, generator, Order, "ship", lambda step: None):
            with pytest.raises(ValidationError, match=r"'job'.*async"):
                define_job("job", run=function)
            with pytest.raises(ValidationError, match=r"'job'.*async"):
                define_job("job")(function)

    def test_needs_a_function_of_step_and_input(self) -> None:
        async def none(): ...
        async def three(step, input, more): ...
        async def any_number(*args): ...
        async def by_keyword(step, *, input): ...
        async def any_keywords(step, **input): ...

        for function in (none, three, any_number, by_keyword, any_keywords):
            with pytest.raises(ValidationError, match=r"'job'.*\(step, input\) or \(step\)"):
                define_job("job", run=function)

    def test_may_have_any_names_and_defaults_for_its_parameters(self) -> None:
        async def run(context, order: Order | None = None, /): ...

        assert define_job("job", run=run).input == Order | None


class TestRegistering:
    def test_the_same_job_again_gives_the_same_handle(self, engine: Engine) -> None:
        job = define_job("ship", run=ship)
        durably = engine(job)
        handle = durably.jobs.ship
        assert durably.register({"ship": job, "send": job}) is durably
        assert durably.jobs.ship is durably.jobs["send"] is durably.get_job("ship") is handle
        assert sorted(durably.jobs) == ["send", "ship"] and len(durably.jobs) == 2

    def test_a_different_job_of_the_same_name_is_a_conflict_and_registers_none(self, engine: Engine) -> None:
        durably = engine(define_job("ship", run=ship))
        with pytest.raises(ConflictError, match=r"already registered.*'ship'"):
            durably.register({"fresh": define_job("fresh", run=echo), "ship": define_job("ship", run=ship)})
        assert list(durably.jobs) == ["ship"] and durably.get_job("fresh") is None

    def test_two_jobs_of_the_same_name_at_once_are_a_conflict(self, engine: Engine) -> None:
        durably = engine()
        with pytest.raises(ConflictError, match=r"already registered.*'ship'"):
            durably.register({"one": define_job("ship", run=ship), "two": define_job("ship", run=echo)})

    def test_takes_definitions_only(self, engine: Engine) -> None:
        with pytest.raises(ValidationError, match=r"jobs\['ship'\].*define_job"):
            engine().register({"ship": ship})  # type: ignore[dict-item]

    def test_makes_handles_by_attribute_and_item(self, engine: Engine) -> None:
        durably = engine(define_job("ship", run=ship))
        assert durably.jobs.ship.name == "ship" and durably.get_job("send") is None
        with pytest.raises(AttributeError, match=r"'send'.*ship"):
            _ = durably.jobs.send
        with pytest.raises(KeyError):
            _ = durably.jobs["send"]
