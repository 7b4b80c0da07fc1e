"""Runs, events and errors as the page gets them: plain JSON with camelCase names. Knows no transport.

Only the engine's own names are converted, never keys inside what users stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from durably_wasm.errors import StoreError, ValidationError, message_of
from durably_wasm.events import Event
from durably_wasm.models import Progress, Run, camel_case
from durably_wasm.options import Options

_OPTIONS = {camel_case(field.name): field.name for field in fields(Options) if field.name != "exclusive"}
_TRIGGER_OPTIONS = {camel_case(name): name for name in ("idempotency_key", "concurrency_key", "coalesce", "labels")}


def to_message(row: Run | Event) -> dict[str, Any]:
    """Write a run or an event."""
    kind: type = type(row)
    message = {camel: getattr(row, name) for name, camel in _names(kind)}
    if isinstance(message.get("progress"), Progress):
        message["progress"] = asdict(message["progress"])
    return message


def error_to_message(error: BaseException) -> dict[str, Any]:
    """Write an error: its class's name, which the page sees as the error's `name`, its message, and what it means."""
    message = {"name": type(error).__name__, "message": message_of(error)}
    if not isinstance(error, StoreError):
        return message
    return {**message, "isFull": error.is_full, "isCausedByData": error.is_caused_by_data}


def snake_case_options(message: Mapping[str, Any]) -> dict[str, Any]:
    """Read the engine's options.

    Raises:
        ValidationError: There is no such option.
    """
    return _snake_case(message, _OPTIONS)


def snake_case_trigger_options(message: Mapping[str, Any]) -> dict[str, Any]:
    """Read what may come with a trigger.

    Raises:
        ValidationError: There is no such option.
    """
    return _snake_case(message, _TRIGGER_OPTIONS)


def _snake_case(message: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    if unknown := message.keys() - names:
        raise ValidationError(f"Unknown option {', '.join(unknown)}; there are: {', '.join(sorted(names))}")
    return {names[name]: value for name, value in message.items()}


@cache
def _names(cls: type) -> list[tuple[str, str]]:
    return [(field.name, camel_case(field.name)) for field in fields(cls)]
