"""Payloads: what users hand over, as strict JSON text.

Inputs, outputs, step results and log data are stored as the text written here and decoded from it again, so nothing
that a caller holds is aliased, and no other language gets the chance to turn ``1.0`` into ``1``.
Strict means RFC 8259: text keys and finite numbers only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import TypeAlias

JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None

_ATOMS = (bool, int, str)
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
        TypeError: The type has no JSON form, or a dict has a key that is not text; the message names the type.
        ValueError: A number is NaN or infinite, or the value contains itself.
    """
    try:
        return _to_json(value, fallback)
    except RecursionError as error:
        raise ValueError(f"{_name(value)} is circular or nested too deeply for JSON") from error


def check_finite(dumped: object) -> None:
    """Raise ValueError if there is a NaN or an infinity in what pydantic dumped as Python values.

    Where a type is `Any`, pydantic turns them into null in JSON without a word.
    """
    if isinstance(dumped, float):
        _finite(dumped)
    elif isinstance(dumped, dict):
        for item in dumped.values():
            check_finite(item)
    elif isinstance(dumped, list | tuple | set | frozenset):
        for item in dumped:
            check_finite(item)


def _to_json(value: object, fallback: Callable[[object], str] | None) -> JsonValue:
    kind = type(value)
    if value is None or (isinstance(value, bool | int | str) and kind in _ATOMS):
        return value
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

    try:
        if serializer := getattr(value, "__pydantic_serializer__", None):
            check_finite(serializer.to_python(value))
        result: JsonValue = to_jsonable_python(value, bytes_mode="base64", fallback=fallback)
    except (PydanticSerializationError, UnicodeDecodeError) as error:
        raise TypeError(f"{_name(value)} has no JSON form ({error})") from error
    return result


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"float {value} is not a JSON number")
    return float(value)


def _key(key: object) -> str:
    if type(key) is not str:
        raise TypeError(f"dict key {key!r} is {_name(key)}, and JSON keys are text")
    return key


def _name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
