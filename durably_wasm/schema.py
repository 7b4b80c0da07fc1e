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

from durably_wasm.equality import difference
from durably_wasm.errors import ValidationError, message_of
from durably_wasm.payloads import JsonValue, encode, is_utf8, short_repr, to_json, type_name

T = TypeVar("T")

UNDECLARED: Any = type("Undeclared", (), {"__repr__": lambda self: "<from annotation>"})()

_ANYTHING = (UNDECLARED, Any, object)
_VALUES = frozenset({"default", "expected", "members", "metadata"})  # in a core schema: no schemas, but users' values
_BYTES_AS_BASE64 = CoreConfig(ser_json_bytes="base64", val_json_bytes="base64")


# To resolve an annotation takes longer than a checkpoint in memory, and a step function is called again and again.
_of_functions: WeakKeyDictionary[Callable[..., object], Schema[Any]] = WeakKeyDictionary()


class Schema(Generic[T]):
    """One declared type: checks Python values, and turns them into JSON values and back.

    Stored values are read back equal, or they are refused when they are written. Without a declared type any JSON value
    passes as it is.
    """

    def __init__(self, declared: object) -> None:
        self._core = None if any(declared is anything for anything in _ANYTHING) else _Core(declared)

    def validate(self, value: object) -> T:
        """Return `value` as the declared type.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        if self._core is None:
            return value  # type: ignore[return-value]  # T is any value then
        validated: T = self._core.validator.validate_python(value)
        return validated

    def validate_json(self, value: JsonValue) -> T:
        """Return what a JSON value from elsewhere stands for: it names fields by their aliases or by their names.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        return self._read(value, by_alias=True)

    def to_json(self, value: T) -> JsonValue:
        """Return the JSON value to store; see `round_trip`."""
        return self.round_trip(value)[0]

    def round_trip(self, value: T) -> tuple[JsonValue, T]:
        """Return the JSON value to store, and what will be read back from it.

        Raises:
            TypeError, ValueError: JSON cannot hold the value, or what is read back would not equal it (see `equality`);
                the message names the place in it and the type.
        """
        if self._core is None:
            stored = to_json(value)
            return stored, stored  # type: ignore[return-value]  # T is JsonValue then
        try:
            stored = to_json(self._core.dump(value))
            back = self.from_json(stored)
        except (PydanticSerializationError, UnicodeDecodeError) as error:
            raise TypeError(str(error)) from error
        except pydantic.ValidationError as error:
            fault = _unwritable_text(stored) or f"{type_name(value)} would not be read back: {explain(error)}"
            raise TypeError(fault) from error
        if changed := difference(value, back):
            raise TypeError(str(changed))
        return stored, back

    def from_json(self, value: JsonValue) -> T:
        """Return what a stored JSON value stands for.

        Raises:
            pydantic.ValidationError: It does not fit: it was stored under another declaration.
        """
        return self._read(value, by_alias=False)

    def _read(self, value: JsonValue, *, by_alias: bool) -> T:
        if self._core is None:
            return value  # type: ignore[return-value]  # T is JsonValue then
        validated: T = self._core.validator.validate_json(encode(value), by_alias=by_alias, by_name=True)
        return validated


_ANY: Schema[Any] = Schema(UNDECLARED)


def _unwritable_text(value: JsonValue, path: str = "") -> str | None:
    """Name the place of a text in a JSON value that UTF-8 cannot write; pydantic reads no JSON that has one."""
    if isinstance(value, str) and not is_utf8(value):
        place = f"{path.removeprefix('.')}: " if path else ""
        return f"{place}str {short_repr(value)} has half a surrogate pair, which UTF-8 cannot write"
    parts: list[tuple[str, JsonValue]] = []
    if isinstance(value, dict):
        parts = [(f"{path}.{key}", part) for key, item in value.items() for part in (key, item)]
    elif isinstance(value, list):
        parts = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return next((fault for part, item in parts if (fault := _unwritable_text(item, part))), None)


def schema_of_result(function: Callable[..., object]) -> Schema[Any]:
    """Return the schema of a step function's declared result.

    An annotation that no schema can be made of counts as none.
    """
    if _is_lambda(function):
        return _ANY
    try:
        return _of_functions[function]
    except (KeyError, TypeError):  # not seen yet, or nothing that a weak reference can be made to
        pass
    schema = _schema_of_annotation(function)
    with suppress(TypeError):
        _of_functions[function] = schema
    return schema


def _schema_of_annotation(function: Callable[..., object]) -> Schema[Any]:
    try:
        annotation = annotation_of(function, "return", {})
        if typing.get_origin(annotation) in (collections.abc.Awaitable, collections.abc.Coroutine):
            annotation = typing.get_args(annotation)[-1]
        is_lazy = (typing.get_origin(annotation) or annotation) in (collections.abc.Iterable, collections.abc.Generator)
        return _ANY if is_lazy else schema_of(annotation)
    except Exception:  # of NoReturn, of a name for type checkers only: an annotation may be anything
        return _ANY


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
    names = {**getattr(function, "__globals__", {}), **scope, **_enclosed(function)}

    def bearer() -> None: ...

    bearer.__annotations__ = {name: hints[name]}
    try:
        resolved = typing.get_type_hints(bearer, names, include_extras=True)
    except NameError as error:
        where = getattr(function, "__qualname__", repr(function))
        raise ValidationError(f"{where}: cannot resolve an annotation: {error}; import the name at run time") from error
    return resolved[name]


def _enclosed(function: Callable[..., object]) -> dict[str, Any]:
    """Return the names that a function takes from the functions around it; not those that have no value yet."""
    names = function.__code__.co_freevars if inspect.isfunction(function) else ()
    cells = getattr(function, "__closure__", None) or ()
    enclosed = {}
    for name, cell in zip(names, cells, strict=False):
        with suppress(ValueError):  # it is assigned later
            enclosed[name] = cell.cell_contents
    return enclosed


def explain(error: BaseException) -> str:
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

    def dump(self, value: object) -> object:
        """Return what JSON can hold of a value, its fields by their names: aliases may differ between the two ways."""
        return self.serializer.to_python(value, mode="json", by_alias=False, round_trip=True, warnings=False)


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
