"""Annotations that cannot be resolved yet, or of which no schema can be made, keep no job or step from running."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Never, NoReturn, Self

import pytest
from conftest import Execute
from pydantic import BaseModel

from durably_wasm import StepContext, define_job

if TYPE_CHECKING:
    from elsewhere import Unknown


class Order(BaseModel):
    number: int


def rows_lazily() -> Iterator[dict[str, int]]:
    yield {"a": 1}


def rows_generated() -> Generator[dict[str, int], None, None]:
    yield {"a": 1}


def rows_of_a_list() -> Iterable[dict[str, int]]:
    return [{"a": 1}]


def never_typed() -> NoReturn:
    return [{"a": 1}]


def never_typed_newly() -> Never:
    return [{"a": 1}]


def typed_for_checkers() -> Unknown:
    return [{"a": 1}]


def typed_for_itself() -> Self:
    return [{"a": 1}]


def typed_with_a_value() -> 1 + 1:
    return [{"a": 1}]


async def awaited() -> AsyncIterator[int]:
    return [{"a": 1}]


def awaitable() -> Awaitable[Iterator[int]]:
    async def rows() -> Any:
        return [{"a": 1}]

    return rows()


class Rows:
    def __call__(self) -> Unknown:
        return [{"a": 1}]

    def method(self) -> Self:
        return [{"a": 1}]


@pytest.mark.parametrize(
    "function",
    [
        rows_lazily,
        rows_generated,
        rows_of_a_list,
        never_typed,
        never_typed_newly,
        typed_for_checkers,
        typed_for_itself,
        typed_with_a_value,
        awaited,
        awaitable,
        Rows(),
        Rows().method,
        functools.partial(typed_for_checkers),
    ],
    ids=lambda function: getattr(function, "__name__", type(function).__name__),
)
async def test_of_a_step_that_no_schema_can_be_made_of_counts_as_none(
    execute: Execute, function: Callable[[], object]
) -> None:
    async def run(step: StepContext) -> Any:
        return [await step.run("rows", function), await step.run("rows", function)]

    ended, _ = await execute(define_job("job", run=run))
    assert ended.output == [[{"a": 1}], [{"a": 1}]], ended.error


async def test_of_a_job_may_stand_beside_a_name_that_is_assigned_later(execute: Execute) -> None:
    class Local(BaseModel):
        number: int

    @define_job("job")
    async def job(step: StepContext, input: Local) -> Local:
        return Local(number=input.number + later)

    later = 1
    ended, _ = await execute(job, {"number": 1})
    assert (job.input, ended.output) == (Local, {"number": 2})


async def test_of_a_step_may_stand_beside_a_name_that_is_assigned_later(execute: Execute) -> None:
    async def run(step: StepContext) -> str:
        def make() -> Order:
            return Order(number=1) if step else later

        result = repr(await step.run("make", make))
        later = Order(number=2)
        return f"{result} {later}"

    ended, _ = await execute(define_job("job", run=run))
    assert ended.output == "Order(number=1) number=2", ended.error


async def test_of_a_function_that_calls_itself(execute: Execute) -> None:
    async def run(step: StepContext) -> str:
        def count(number: int) -> Order:
            return count(number - 1) if number else Order(number=number)

        return repr(await step.run("count", count, 3))

    ended, _ = await execute(define_job("job", run=run))
    assert ended.output == "Order(number=0)", ended.error
