"""Payloads: what users hand over, as strict JSON text.

Inputs, outputs, step results and log data are stored as the text written here and decoded from it again, so nothing
that a caller holds is aliased, and no other language gets the chance to turn ``1.0`` into ``1``.
Strict means RFC 8259: text keys and finite numbers only.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from reprlib import Repr
from typing import Any, TypeAlias

JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None

_ATOMS = (bool, int, str)
_LARGEST_BITS = 14_280  # of an integer: Python writes no more than 4,300 digits (`sys.set_int_max_str_digits`)
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = 100
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def encode(value: JsonValue) -> str:
    """Write a JSON value as ASCII text, which crosses every bridge and storage unchanged."""
    return _ENCODER.encode(value)


def decode(text: str) -> JsonValue:
    """Read what `encode` wrote."""
    value: JsonValue = json.loads(text)
    return value


def to_json(value: object, *, fallback: Callable[[object], str] | None = None) -> JsonValue:
    """Turn a Python value into the JSON value that stands for it.

    JSON types stay as they are and tuples become lists; models, dataclasses, datetimes, UUIDs, enums and the like
    become what pydantic makes of them, bytes become base64 text. What pydantic does not know goes to `fallback`.

    Raises:
        TypeError: The type has no JSON form, a dict has a key that is not text, or a secret or an excluded field would
            be missing; the message names the type.
        ValueError: A number is NaN, infinite or too large, or the value contains itself.
    """
    try:
        return _to_json(value, fallback)
    except RecursionError as error:
        raise ValueError(f"{type_name(value)} is circular or nested too deeply for JSON") from error


def type_name(value: object) -> str:
    """Return the name of a value's class, with its module unless that is `builtins`."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def short_repr(value: object) -> str:
    """Return a value's `repr`, shortened in the middle, or its class's name where it has none."""
    try:
        return _REPR.repr(value)
    except Exception:  # a user's own `__repr__` may raise anything, and that of an integer does when it is large
        return f"<{type_name(value)}>"


def is_utf8(text: str) -> bool:
    """Say whether UTF-8 can write a text: not where it has half a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_json(value: object, fallback: Callable[[object], str] | None) -> JsonValue:
    kind = type(value)
    if value is None or (isinstance(value, bool | int | str) and kind in _ATOMS):
        return _writable(value) if isinstance(value, int) else value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, dict):
        return {_key(key): _to_json(item, fallback) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item, fallback) for item in value]
    if is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "__pydantic_serializer__"):
        return {field.name: _to_json(getattr(value, field.name), fallback) for field in fields(value)}
    return _to_json(_by_pydantic(value, fallback), fallback)


def _by_pydantic(value: object, fallback: Callable[[object], str] | None) -> JsonValue:
    # imported here, so that rows and events can be imported before any compiled extension: see browser/snapshot.py
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if fallback is None:
        _check_whole(value)
    try:
        result: JsonValue = to_jsonable_python(value, bytes_mode="base64", fallback=fallback)
    except (PydanticSerializationError, UnicodeDecodeError) as error:
        raise TypeError(f"{type_name(value)} has no JSON form ({error})") from error
    return result


def _check_whole(value: object) -> None:
    """Refuse what pydantic masks, leaves out or turns into null without a word.

    Raises:
        TypeError: There is a secret, or a field that is excluded and has a value of its own.
        ValueError: There is a NaN or an infinity.
    """
    if isinstance(value, float):
        _finite(value)
    elif hasattr(value, "get_secret_value"):
        raise TypeError(f"{type_name(value)} has no JSON form: it is masked")
    elif isinstance(value, Mapping):
        _check_whole([*value.values()])
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for item in value:
            _check_whole(item)
    elif hasattr(value, "__pydantic_fields__"):
        _check_fields(value)


def _check_fields(record: Any) -> None:
    for name, field in type(record).__pydantic_fields__.items():
        value = getattr(record, name, None)
        if field.exclude and value != field.get_default():
            raise TypeError(f"{type_name(record)} has no faithful JSON form: its field {name!r} is excluded")
        _check_whole(value)
    _check_whole(getattr(record, "__pydantic_extra__", None))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"float {value} is not a JSON number")
    return float(value)


def _writable(value: int) -> int:
    if value.bit_length() > _LARGEST_BITS:
        raise ValueError(f"int has {value.bit_length()} bits, and numbers of at most {_LARGEST_BITS} are stored")
    return value


def _key(key: object) -> str:
    if type(key) is not str:
        raise TypeError(f"dict key {key!r} is {type_name(key)}, and JSON keys are text")
    return key
