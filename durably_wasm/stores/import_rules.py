"""What a row of each table may hold: what this version's own statements could have written.

An imported file may come from anyone, and a row that cannot be decoded makes each read of its run raise. The rules are
data: one for each column, and which columns a status needs or forbids. This module does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, get_args

from durably_wasm.identifiers import LONGEST
from durably_wasm.models import TERMINAL, LogLevel, RunStatus, StepStatus, to_iso
from durably_wasm.payloads import JsonValue, decode, encode, is_utf8


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that no column may hold, and why."""

    reason: str


Cell: TypeAlias = str | int | Unreadable | None
Row: TypeAlias = Mapping[str, Cell]
Rule: TypeAlias = Callable[[Cell], str | None]  # what is wrong with a value; None: nothing

JSON_COLUMNS = {"runs": ("progress", "labels"), "payloads": ("value",), "steps": ("output",), "logs": ("data",)}

_MOST = 2**31 - 1  # of a count: no run gets there, and it can be counted up and written to any store
_FIRST_TIME, _FIRST_TIME_TOO_LATE = "1970", "9999"  # a lease that is taken then can still be added to a time
_PROGRESS_FIELDS = {"current", "total", "message"}


def fault(table: str, row: Row) -> tuple[str, str] | None:
    """Return the column that is wrong in a row, and what is wrong with it; None: nothing is."""
    for column, rule in COLUMNS[table].items():
        value = row[column]
        if reason := value.reason if isinstance(value, Unreadable) else rule(value):
            return column, reason
    return _misfit(table, row)


def canonical(labels: str) -> str:
    """Return labels as they are stored: a filter compares their text."""
    return encode(decode(labels))


def _misfit(table: str, row: Row) -> tuple[str, str] | None:
    status = row.get("status")
    for column, statuses in _ALWAYS_WITH.get(table, {}).items():
        if row[column] is None and status in statuses:
            return column, f"is NULL, and the status is {status!r}"
    for column, statuses in _ONLY_WITH.get(table, {}).items():
        if row[column] is not None and status not in statuses:
            return column, f"is not NULL, and the status is {status!r}"
    return None


def _text(value: Cell) -> str | None:
    return None if isinstance(value, str) else f"is not text, but {_kind(value)}"


def _identifier(value: Cell) -> str | None:
    if not isinstance(value, str):
        return _text(value)
    if not value:
        return "is empty"
    if "\0" in value:
        return "has a NUL character"
    if len(value) > LONGEST:
        return f"has more than {LONGEST} characters"
    return None if is_utf8(value) else "has a half surrogate pair"


def _count(value: Cell) -> str | None:
    is_count = isinstance(value, int) and 0 <= value <= _MOST
    return None if is_count else f"is not a whole number from 0 to {_MOST}"


def _time(value: Cell) -> str | None:
    try:
        is_time = isinstance(value, str) and to_iso(datetime.fromisoformat(value)) == value
    except (ValueError, OverflowError):
        is_time = False
    if not is_time or not _FIRST_TIME <= str(value) < _FIRST_TIME_TOO_LATE:
        return "is not a time of the form 2026-01-31T12:00:00.000Z between 1970 and 9998"
    return None


def _json(value: Cell) -> str | None:
    return _text(value) or (None if _decoded(value) is not _NO_JSON else "is not JSON")


def _progress(value: Cell) -> str | None:
    progress = _decoded(value)
    if not isinstance(progress, dict) or set(progress) != _PROGRESS_FIELDS:
        return "is not a JSON object of current, total and message"
    current, total, message = (progress[name] for name in ("current", "total", "message"))
    if not isinstance(current, int | float) or not isinstance(total, int | float | None):
        return "has a current or a total that is not a number"
    return None if isinstance(message, str | None) else "has a message that is not text"


def _labels(value: Cell) -> str | None:
    labels = _decoded(value)
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        return "is not a JSON object of texts"
    for key in labels:
        if reason := _identifier(key):
            return f"has a key that {reason}"
    return None


def _one_of(*known: str) -> Rule:
    return lambda value: None if value in known else f"is none of {', '.join(known)}"


def _or_null(rule: Rule) -> Rule:
    return lambda value: None if value is None else rule(value)


class _NoJson:
    """Stands for the value of a text that is not JSON."""


_NO_JSON = _NoJson()


def _decoded(text: Cell) -> JsonValue | _NoJson:
    """Read JSON as the store does; what cannot be written again, such as NaN, is none."""
    try:
        value = decode(str(text))
        encode(value)
    except (ValueError, RecursionError):
        return _NO_JSON
    return value


def _kind(value: Cell) -> str:
    return "NULL" if value is None else type(value).__name__


COLUMNS: Mapping[str, Mapping[str, Rule]] = {
    "runs": {
        "id": _identifier,
        "job_name": _identifier,
        "status": _one_of(*get_args(RunStatus)),
        "idempotency_key": _or_null(_identifier),
        "concurrency_key": _or_null(_identifier),
        "current_step_index": _count,
        "completed_step_count": _count,
        "progress": _or_null(_progress),
        "error": _or_null(_text),
        "error_type": _or_null(_text),
        "error_traceback": _or_null(_text),
        "labels": _labels,
        "lease_owner": _or_null(_text),
        "lease_expires_at": _or_null(_time),
        "lease_generation": _count,
        "started_at": _or_null(_time),
        "completed_at": _or_null(_time),
        "created_at": _time,
        "updated_at": _time,
    },
    "payloads": {"run_id": _identifier, "kind": _one_of("input", "output"), "value": _json},
    "steps": {
        "id": _identifier,
        "run_id": _identifier,
        "name": _identifier,
        "index": _count,
        "status": _one_of(*get_args(StepStatus)),
        "output": _json,
        "error": _or_null(_text),
        "started_at": _time,
        "completed_at": _or_null(_time),
    },
    "logs": {
        "id": _identifier,
        "run_id": _identifier,
        "step_name": _or_null(_identifier),
        "level": _one_of(*get_args(LogLevel)),
        "message": _text,
        "data": _json,
        "created_at": _time,
    },
    "crashes": {"run_id": _identifier, "count": _count, "reason": _text, "completed_step_count": _count},
}

_ALWAYS_WITH: Mapping[str, Mapping[str, frozenset[str]]] = {
    "runs": {
        "lease_owner": frozenset({"leased"}),
        "lease_expires_at": frozenset({"leased"}),
        "completed_at": frozenset(TERMINAL),
        "error": frozenset({"failed"}),
    }
}
_ONLY_WITH: Mapping[str, Mapping[str, frozenset[str]]] = {
    "runs": {
        **_ALWAYS_WITH["runs"],
        "error_type": frozenset({"failed"}),
        "error_traceback": frozenset({"failed"}),
    },
    "steps": {"error": frozenset({"failed"})},
}
