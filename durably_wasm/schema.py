"""Declared types: the one place where they meet pydantic."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeGuard, TypeVar
from weakref import WeakKeyDictionary

import pydantic
from pydantic import PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import CoreConfig, PydanticSerializationError, SchemaSerializer, SchemaValidator

from durably_wasm.errors import ValidationError, message_of
from durably_wasm.payloads import JsonValue, check_finite, encode, to_json

T = TypeVar("T")

UNDECLARED: Any = type("Undeclared", (), {"__repr__": lambda self: "<from annotation>"})()

_VALUES = frozenset({"default", "expected", "members", "metadata"})  # in a core schema: no schemas, but users' values
_BYTES_AS_BASE64 = CoreConfig(ser_json_bytes="base64", val_json_bytes="base64")


# To resolve an annotation takes longer than a checkpoint in memory, and a step function is called again and again.
_of_functions: WeakKeyDictionary[Callable[..., object], Schema[Any]] = WeakKeyDictionary()


class Schema(Generic[T]):
    """One declared type: checks Python values, and turns them into JSON values and back.

    Without a declared type any JSON value passes as it is.
    """

    def __init__(self, declared: object) -> None:
        self._core = None if declared is UNDECLARED else _Core(declared)

    def validate(self, value: object) -> T:
        """Return `value` as the declared type.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        if self._core is None:
            return value  # type: ignore[return-value]  # T is any value then
        validated: T = self._core.validator.validate_python(value)
        return validated

    def to_json(self, value: T) -> JsonValue:
        """Return the JSON value to store.

        Raises:
            TypeError, ValueError: JSON cannot hold it; the message names the type.
        """
        if self._core is None:
            return to_json(value)
        dump = self._core.serializer.to_python
        try:
            check_finite(dump(value, round_trip=True))
            dumped = dump(value, mode="json", by_alias=True, round_trip=True)
        except (PydanticSerializationError, UnicodeDecodeError) as error:
            raise TypeError(str(error)) from error
        return to_json(dumped)

    def from_json(self, value: JsonValue) -> T:
        """Return what a JSON value stands for.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        if self._core is None:
            return value  # type: ignore[return-value]  # T is JsonValue then
        validated: T = self._core.validator.validate_json(encode(value), by_alias=True, by_name=True)
        return validated


_ANY: Schema[Any] = Schema(UNDECLARED)


def schema_of_result(function: Callable[..., object]) -> Schema[Any]:
    """Return the schema of a step function's declared result.

    Raises:
        ValidationError: The annotation cannot be resolved, or pydantic does not know the type.
    """
    if _is_lambda(function):
        return _ANY
    try:
        return _of_functions[function]
    except (KeyError, TypeError):  # not seen yet, or nothing that a weak reference can be made to
        pass
    annotation = annotation_of(function, "return", {})
    if typing.get_origin(annotation) in (collections.abc.Awaitable, collections.abc.Coroutine):
        annotation = typing.get_args(annotation)[-1]
    schema = schema_of(UNDECLARED if annotation is Any else annotation)
    with suppress(TypeError):
        _of_functions[function] = schema
    return schema


def _is_lambda(function: Callable[..., object]) -> bool:
    """Most step functions are lambdas, each time a new one, and a lambda has no annotations to look for."""
    return getattr(function, "__name__", None) == "<lambda>" and not hasattr(function, "__wrapped__")


def schema_of(declared: object) -> Schema[Any]:
    """Return the schema of a type, built once a type: pydantic takes milliseconds for that."""
    return _cached_schema(declared, repr(declared)) if _is_hashable(declared) else Schema(declared)


@functools.lru_cache(maxsize=256)
def _cached_schema(declared: Hashable, spelling: str) -> Schema[Any]:
    """`A | B` and `B | A` are equal, but which of the two a value becomes goes by the spelling."""
    return Schema(declared)


def annotation_of(function: Callable[..., object], name: str, scope: Mapping[str, Any]) -> Any:
    """Return one annotation of a function, resolved; the others may name what exists for type checkers only."""
    function = _plain_function(function)
    hints = _raw_annotations(function)
    if name not in hints:
        return UNDECLARED
    own = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    names = {**getattr(function, "__globals__", {}), **scope, **own}

    def bearer() -> None: ...

    bearer.__annotations__ = {name: hints[name]}
    try:
        resolved = typing.get_type_hints(bearer, names, include_extras=True)
    except NameError as error:
        where = getattr(function, "__qualname__", repr(function))
        raise ValidationError(f"{where}: cannot resolve an annotation: {error}; import the name at run time") from error
    return resolved[name]


def explain(error: Exception) -> str:
    """Return an error's message; of a pydantic one, every field at fault with its reason."""
    if not isinstance(error, pydantic.ValidationError):
        return message_of(error)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault["loc"] else fault["msg"]
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )


class _Core:
    """A type's validator and serializer, in which bytes are base64 text wherever the user's models say nothing else.

    Pydantic takes a config for a type only if the type is no model, dataclass or TypedDict, and those in it keep their
    own. So the schema that it makes is changed before validator and serializer are built of it.
    """

    def __init__(self, declared: Any) -> None:
        try:
            adapter = TypeAdapter(declared)
            adapter.rebuild(raise_errors=True)  # no name in it may be left open
        except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
            raise ValidationError(f"{declared!r} is not a type that pydantic can validate: {error}") from error
        schema = _with_bytes_as_base64(adapter.core_schema)
        self.validator = SchemaValidator(schema, _BYTES_AS_BASE64, _use_prebuilt=False)
        self.serializer = SchemaSerializer(schema, _BYTES_AS_BASE64, _use_prebuilt=False)


def _with_bytes_as_base64(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(map(_with_bytes_as_base64, schema))
    if not isinstance(schema, dict):
        return schema
    changed = {key: part if key in _VALUES else _with_bytes_as_base64(part) for key, part in schema.items()}
    if changed.get("type") in ("model", "dataclass", "typed-dict"):
        changed["config"] = {**_BYTES_AS_BASE64, **(changed.get("config") or {})}
    return changed


def _is_hashable(declared: object) -> TypeGuard[Hashable]:
    try:
        hash(declared)
    except TypeError:  # such as Annotated[int, {"a": "dict"}]
        return False
    return True


def _plain_function(function: Callable[..., object]) -> Callable[..., object]:
    while isinstance(function, functools.partial):
        function = function.func
    plain: Callable[..., object] = inspect.unwrap(function)
    return plain if inspect.isroutine(plain) or inspect.isclass(plain) else inspect.unwrap(type(plain).__call__)


if sys.version_info >= (3, 14):
    import annotationlib

    def _raw_annotations(function: Callable[..., object]) -> Mapping[str, Any]:
        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
else:

    def _raw_annotations(function: Callable[..., object]) -> Mapping[str, Any]:
        return getattr(function, "__annotations__", None) or {}
