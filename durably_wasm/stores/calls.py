"""What the page's calls have come to, kept as text beside the runs.

A page repeats a call whose reply it has not seen, to the next engine. The call's id is looked up in the transaction
that would apply it: found, nothing is changed and the outcome that is kept is given again, word for word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from durably_wasm.models import EnqueueResult, Progress, Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How the outcome of one kind of call is kept."""

    write: Callable[[T], str]
    read: Callable[[str], T]


def _results_to_text(results: Sequence[EnqueueResult]) -> str:
    return json.dumps(results, default=_fields)


def _fields(row: EnqueueResult | Run | Progress) -> dict[str, Any]:
    names = fields(Run) if isinstance(row, Run) else fields(row)
    return {field.name: getattr(row, field.name) for field in names if field.name != "is_repeated"}


def _results_from_text(text: str) -> list[EnqueueResult]:
    return [EnqueueResult(**{**result, "run": _run(result["run"])}, is_repeated=True) for result in json.loads(text)]


def _run(values: dict[str, Any]) -> Run:
    progress = values["progress"]
    return Run(**{**values, "progress": progress and Progress(**progress)})


ENQUEUED: Outcome[list[EnqueueResult]] = Outcome(_results_to_text, _results_from_text)
CANCELLED: Outcome[bool] = Outcome(json.dumps, json.loads)
CRASHED: Outcome[list[str]] = Outcome(json.dumps, json.loads)
TOO_LATE = CANCELLED.write(False)  # the only outcome that is a refusal, to be told again in the same words
DELETED: Outcome[None] = Outcome(json.dumps, json.loads)
PURGED: Outcome[int] = Outcome(json.dumps, json.loads)
