"""Rows, events and errors as the page gets them: plain JSON with camelCase names. Knows no transport.

Only the engine's own names are converted, never keys inside what users stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from durably_wasm.errors import StoreError, ValidationError
from durably_wasm.events import Event
from durably_wasm.models import Log, OneOrMore, Progress, Run, RunFilter, Step, camel_case
from durably_wasm.options import Options

_OPTIONS = {camel_case(field.name): field.name for field in fields(Options) if field.name != "exclusive"}
_TRIGGER_OPTIONS = {camel_case(name): name for name in ("idempotency_key", "concurrency_key", "coalesce", "labels")}


def to_message(row: Run | Step | Log | Event) -> dict[str, Any]:
    """Write a row or an event."""
    kind: type = type(row)
    message = {camel: getattr(row, name) for name, camel in _names(kind)}
    if isinstance(message.get("progress"), Progress):
        message["progress"] = asdict(message["progress"])
    return message


def error_to_message(error: BaseException) -> dict[str, Any]:
    """Write an error: its class's name, which the page sees as the error's `name`, its message, and what it means."""
    message = {"name": type(error).__name__, "message": str(error) or type(error).__name__}
    return {**message, "isFull": error.is_full} if isinstance(error, StoreError) else message


def filter_from_message(message: Mapping[str, Any]) -> RunFilter:
    """Read a filter of runs.

    Raises:
        ValidationError: A field is unknown or has the wrong type; the message names it.
    """
    given = {name: value for name, value in message.items() if value is not None}
    status: OneOrMore = given.pop("status", None)
    job_name: OneOrMore = given.pop("jobName", None)
    labels = given.pop("labels", None)
    limit, offset = given.pop("limit", None), given.pop("offset", 0)
    if given:
        raise ValidationError(f"Unknown filter {', '.join(given)}; there are: status, jobName, labels, limit, offset")
    return RunFilter(status, job_name, labels, limit, offset)


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
