"""Jobs: a name, an input and an output type, and an async function."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic, TypeVar, overload

from durably_wasm.errors import ValidationError
from durably_wasm.identifiers import check_identifier
from durably_wasm.models import In, Out
from durably_wasm.payloads import JsonValue
from durably_wasm.schema import UNDECLARED, Schema, annotation_of, explain

T = TypeVar("T")
JobFunction = Callable[..., Awaitable[T]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JobDefinition(Generic[In, Out]):
    """A job, as `define_job` made it; immutable.

    ``input`` and ``output`` are the declared types. ``run`` is the function, ``takes_input`` whether it has a
    parameter for the input beside the step context.
    """

    name: str
    input: Any
    output: Any
    run: JobFunction[Out]
    takes_input: bool
    input_schema: Schema[In]
    output_schema: Schema[Out]

    def input_to_json(self, value: object) -> JsonValue:
        """Validate an input, an instance of the declared type or plain data, and return the JSON value to store.

        Raises:
            ValidationError: It does not fit, or would not be read back equal; the message names the job and every field
                at fault.
        """
        return self._checked(self.input_schema.validate, value)

    def check_json_input(self, value: JsonValue) -> JsonValue:
        """Validate an input that comes as JSON, where text may stand for dates or bytes; else as `input_to_json`."""
        return self._checked(self.input_schema.validate_json, value)

    def check_stored_input(self, value: JsonValue) -> JsonValue:
        """Validate an input that was stored for an earlier run; else as `input_to_json`."""
        return self._checked(self.input_schema.from_json, value)

    def _checked(self, validate: Callable[[Any], In], value: object) -> JsonValue:
        try:
            return self.input_schema.to_json(validate(value))
        except Exception as error:  # a user's validator may raise anything
            raise ValidationError(f"Invalid input for job {self.name!r}: {explain(error)}") from error


@overload
def define_job(name: str, *, input: Any = ..., output: Any = ...) -> _JobDecorator: ...
@overload
def define_job(
    name: str, *, input: Any = ..., output: Any = ..., run: Callable[[Any, In], Awaitable[Out]]
) -> JobDefinition[In, Out]: ...
@overload
def define_job(
    name: str, *, input: Any = ..., output: Any = ..., run: Callable[[Any], Awaitable[Out]]
) -> JobDefinition[None, Out]: ...
def define_job(
    name: str, *, input: Any = UNDECLARED, output: Any = UNDECLARED, run: JobFunction[Any] | None = None
) -> Any:
    """Make a job of an async function that takes ``(step, input)``, or ``(step)`` for a job without input.

    A decorator without `run`, a plain function with it. `input` and `output` are any types that pydantic's
    `TypeAdapter` takes, by default the function's annotations; without any, values are JSON and not validated.

        @define_job("import-csv")
        async def import_csv(step: StepContext, input: ImportInput) -> ImportOutput: ...

    Raises:
        ValidationError: The name is no identifier (see `identifiers`), the function is not async or takes something
            else, or a type is unknown to pydantic.
    """
    name = check_identifier("A job's name", name)
    caller = sys._getframe(1)
    if run is None:
        return lambda function: _define(name, input, output, function, _scope(function, caller))
    return _define(name, input, output, run, _scope(run, caller))


class _JobDecorator(typing.Protocol):
    @overload
    def __call__(self, function: Callable[[Any, In], Awaitable[Out]], /) -> JobDefinition[In, Out]: ...
    @overload
    def __call__(self, function: Callable[[Any], Awaitable[Out]], /) -> JobDefinition[None, Out]: ...


def _scope(function: JobFunction[Any], caller: FrameType) -> Mapping[str, Any]:
    """Return the local names that a function's annotations may mean, if it was written inside the calling function."""
    inside = f"{caller.f_code.co_qualname}.<locals>."
    return caller.f_locals if getattr(function, "__qualname__", "").startswith(inside) else {}


def _define(
    name: str, input: Any, output: Any, function: JobFunction[Any], scope: Mapping[str, Any]
) -> JobDefinition[Any, Any]:
    if not inspect.iscoroutinefunction(function):
        raise ValidationError(f"Job {name!r}: its function must be async (`async def`), not {function!r}")
    parameters = list(inspect.signature(function).parameters.values())
    if not 1 <= len(parameters) <= 2 or any(p.kind not in _BY_POSITION for p in parameters):
        raise ValidationError(f"Job {name!r}: its function must take (step, input) or (step)")
    takes_input = len(parameters) == 2
    if input is UNDECLARED:
        input = annotation_of(function, parameters[1].name, scope) if takes_input else None
    if output is UNDECLARED:
        output = annotation_of(function, "return", scope)
    return JobDefinition(
        name=name,
        input=input,
        output=output,
        run=function,
        takes_input=takes_input,
        input_schema=Schema(input),
        output_schema=Schema(output),
    )


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
