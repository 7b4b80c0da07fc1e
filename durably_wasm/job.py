"""Jobs: a name, an input and an output type, and an async function.

Also the one place where declared types meet pydantic: `Schema`.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeGuard, TypeVar, overload

import pydantic
from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError

from durably_wasm.errors import ValidationError
from durably_wasm.models import In, Out
from durably_wasm.payloads import JsonValue, encode, to_json

T = TypeVar("T")
JobFunction = Callable[..., Awaitable[T]]

UNDECLARED: Any = type("Undeclared", (), {"__repr__": lambda self: "<from annotation>"})()

_BYTES_AS_BASE64 = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Schema(Generic[T]):
    """One declared type: checks Python values, and turns them into JSON values and back.

    Without a declared type any JSON value passes as it is.
    """

    def __init__(self, declared: object) -> None:
        self._adapter = None if declared is UNDECLARED else _adapter(declared)

    def validate(self, value: object) -> T:
        """Return `value` as the declared type.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        if self._adapter is None:
            return value  # type: ignore[return-value]  # T is any value then
        validated: T = self._adapter.validate_python(value)
        return validated

    def to_json(self, value: T) -> JsonValue:
        """Return the JSON value to store.

        Raises:
            TypeError, ValueError: JSON cannot hold it; the message names the type.
        """
        if self._adapter is None:
            return to_json(value)
        try:
            dumped = self._adapter.dump_python(value, mode="json", by_alias=True, round_trip=True)
        except (PydanticSerializationError, UnicodeDecodeError) as error:
            raise TypeError(str(error)) from error
        return to_json(dumped)

    def from_json(self, value: JsonValue) -> T:
        """Return what a JSON value stands for.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        if self._adapter is None:
            return value  # type: ignore[return-value]  # T is JsonValue then
        validated: T = self._adapter.validate_json(encode(value), by_alias=True, by_name=True)
        return validated


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
            ValidationError: It does not fit; the message names the job and every field at fault.
        """
        try:
            return self.input_schema.to_json(self.input_schema.validate(value))
        except (pydantic.ValidationError, TypeError, ValueError) as error:
            raise ValidationError(f"Invalid input for job {self.name!r}: {explain(error)}") from error

    def check_json_input(self, value: JsonValue) -> JsonValue:
        """Validate an input that comes as JSON, where text may stand for dates or bytes; else as `input_to_json`."""
        try:
            return self.input_schema.to_json(self.input_schema.from_json(value))
        except (pydantic.ValidationError, TypeError, ValueError) as error:
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
        ValidationError: The name is empty, the function is not async or takes something else, or a type is unknown
            to pydantic.
    """
    if not isinstance(name, str) or not name:
        raise ValidationError(f"A job's name must be text and not empty, not {name!r}")
    if run is None:
        return lambda function: _define(name, input, output, function)
    return _define(name, input, output, run)


class _JobDecorator(typing.Protocol):
    @overload
    def __call__(self, function: Callable[[Any, In], Awaitable[Out]], /) -> JobDefinition[In, Out]: ...
    @overload
    def __call__(self, function: Callable[[Any], Awaitable[Out]], /) -> JobDefinition[None, Out]: ...


def schema_of_result(function: Callable[..., object]) -> Schema[Any]:
    """Return the schema of a step function's declared result.

    Raises:
        ValidationError: The annotation cannot be resolved, or pydantic does not know the type.
    """
    annotation = _annotations(function).get("return", UNDECLARED)
    if typing.get_origin(annotation) in (collections.abc.Awaitable, collections.abc.Coroutine):
        annotation = typing.get_args(annotation)[-1]
    return schema_of(UNDECLARED if annotation is Any else annotation)


def schema_of(declared: object) -> Schema[Any]:
    """Return the schema of a type, built once a type: pydantic takes milliseconds for that."""
    return _cached_schema(declared) if _is_hashable(declared) else Schema(declared)


@functools.lru_cache(maxsize=256)
def _cached_schema(declared: Hashable) -> Schema[Any]:
    return Schema(declared)


def explain(error: Exception) -> str:
    """Return an error's message; of a pydantic one, every field at fault with its reason."""
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault["loc"] else fault["msg"]
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _define(name: str, input: Any, output: Any, function: JobFunction[Any]) -> JobDefinition[Any, Any]:
    if not inspect.iscoroutinefunction(function):
        raise ValidationError(f"Job {name!r}: its function must be async (`async def`), not {function!r}")
    parameters = list(inspect.signature(function).parameters.values())
    if not 1 <= len(parameters) <= 2 or any(p.kind not in _BY_POSITION for p in parameters):
        raise ValidationError(f"Job {name!r}: its function must take (step, input) or (step)")
    takes_input = len(parameters) == 2
    hints = {} if _declared(input) and _declared(output) else _annotations(function)
    if not _declared(input):
        input = hints.get(parameters[1].name, UNDECLARED) if takes_input else None
    if not _declared(output):
        output = hints.get("return", UNDECLARED)
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


def _declared(annotation: object) -> bool:
    return annotation is not UNDECLARED


def _is_hashable(declared: object) -> TypeGuard[Hashable]:
    try:
        hash(declared)
    except TypeError:  # such as Annotated[int, {"a": "dict"}]
        return False
    return True


def _annotations(function: Callable[..., object]) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    try:
        hints: dict[str, Any] = getattr(function, "__annotations__", None) or {}
        if not any(isinstance(hint, str) for hint in hints.values()):
            return hints
        scope = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
        return typing.get_type_hints(function, localns=dict(scope), include_extras=True)
    except NameError as error:
        where = getattr(function, "__qualname__", repr(function))
        raise ValidationError(f"{where}: cannot resolve an annotation: {error}; import the name at run time") from error


def _adapter(declared: Any) -> TypeAdapter[Any]:
    try:
        try:
            return TypeAdapter(declared, config=_BYTES_AS_BASE64)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            return TypeAdapter(declared)  # models bring their own config
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise ValidationError(f"{declared!r} is not a type that pydantic can validate: {error}") from error
