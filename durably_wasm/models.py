"""The rows: what is stored about runs, steps and logs, and what is handed in to store it.

All are frozen; a change is a new row (`dataclasses.replace`). Times are ISO-8601 UTC text with milliseconds and ``Z``,
which sort as text. Durations are integers in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, get_args

from durably_wasm.errors import ValidationError
from durably_wasm.payloads import JsonValue

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    In = TypeVar("In", default=JsonValue)
    Out = TypeVar("Out", default=JsonValue)
else:
    from typing import TypeVar

    In, Out = TypeVar("In"), TypeVar("Out")

RunStatus = Literal["pending", "leased", "completed", "failed", "cancelled"]
StepStatus = Literal["completed", "failed"]
LogLevel = Literal["info", "warn", "error"]
Disposition = Literal["created", "idempotent", "coalesced"]
Coalesce = Literal["skip"]
OneOrMore: TypeAlias = str | Sequence[str] | None

TERMINAL: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run says it is: ``current`` of ``total``, in the job's own unit."""

    current: float
    total: float | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed; ``type`` is the exception's qualified name without ``builtins.``."""

    message: str
    type: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run(Generic[In, Out]):
    """One execution of a job.

    ``lease_generation`` counts the claims; every write of a lease-holder carries it, so that a late one is refused.
    ``current_step_index`` is the index after the highest step stored, ``completed_step_count`` the number of
    completed ones. ``input`` and ``output`` are JSON values, or the declared types when read through a `JobHandle`.
    """

    id: str
    job_name: str
    input: In
    status: RunStatus
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    current_step_index: int = 0
    completed_step_count: int = 0
    progress: Progress | None = None
    output: Out | None = None
    error: str | None = None
    error_type: str | None = None
    error_traceback: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    lease_owner: str | None = None
    lease_expires_at: str | None = None
    lease_generation: int = 0
    started_at: str | None = None
    completed_at: str | None = None
    created_at: str
    updated_at: str

    @property
    def decode_error(self) -> str | None:
        """Why ``input`` and ``output`` are not the declared types; None when they are, or when none are asked for."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class TriggerResult(Run[In, Out]):
    """The run that a trigger led to: a new one, or the one that its keys lead to."""

    disposition: Disposition


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableRun(Run[In, Out]):
    """A run whose ``input`` or ``output`` does not fit its job's declared types any more: both stay JSON values.

    Where even the JSON is damaged, they are the text that is stored. ``decode_error`` says what does not fit.
    """

    decode_error: str = field()


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableTriggerResult(TriggerResult[In, Out]):
    """What a trigger led to, if that is an `UnreadableRun`."""

    decode_error: str = field()


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitResult(Generic[Out]):
    """What `trigger_and_wait` returns: the run's id and its output."""

    id: str
    output: Out
    disposition: Disposition


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A named part of a run, as stored: its result, or the message of its last failure."""

    id: str
    run_id: str
    name: str
    index: int
    status: StepStatus
    output: JsonValue = None
    error: str | None = None
    started_at: str
    completed_at: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """A stored log line; ``step_name`` is None for a line written between steps."""

    id: str
    run_id: str
    step_name: str | None
    level: LogLevel
    message: str
    data: JsonValue = None
    created_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """How often Python died while a run was executed, since the run's last checkpoint, and of what the last time."""

    run_id: str
    count: int
    reason: str
    completed_step_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LastProgress:
    """The last claim of a run after which it had completed a further step, and how many it had completed then."""

    run_id: str
    generation: int
    completed_step_count: int


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a trigger asks for, validated: ``input`` is the JSON value of the job's input."""

    job_name: str
    input: JsonValue
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    coalesce: Coalesce | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TriggerItem(Generic[In]):
    """One item of a batch that has more than an input; see `JobHandle.trigger` for what it may have."""

    input: In
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    coalesce: Coalesce | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class NewStep:
    """The checkpoint of one step, to be written under the run's generation."""

    name: str
    index: int
    status: StepStatus
    _: KW_ONLY
    output: JsonValue = None
    error: str | None = None
    started_at: str


@dataclass(frozen=True, slots=True)
class NewLog:
    """A log line to be stored."""

    run_id: str
    step_name: str | None
    level: LogLevel
    message: str
    _: KW_ONLY
    data: JsonValue = None
    created_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EnqueueResult:
    """The run that a trigger led to, and whether it is a new one.

    ``is_repeated`` says that the call was applied before: this is its first outcome, given again.
    """

    run: Run
    disposition: Disposition
    is_repeated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list, newest first; a list means any of its members, None or an empty one no filter.

    Raises:
        ValidationError: A field is wrong; the message names it.
    """

    status: OneOrMore = None
    job_name: OneOrMore = None
    labels: Mapping[str, str] | None = None
    limit: int | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        _check_names("status", self.status, get_args(RunStatus))
        _check_names("job_name", self.job_name)
        if self.labels is not None and not _is_text_by_text(self.labels):
            raise ValidationError(f"labels must be a mapping of text to text, not {self.labels!r}")
        for name, value in (("limit", self.limit), ("offset", self.offset)):
            if not (name == "limit" and value is None) and (type(value) is not int or value < 0):
                raise ValidationError(f"{name} must be an integer of at least 0, not {value!r}")


def _is_text_by_text(labels: object) -> bool:
    return isinstance(labels, Mapping) and all(isinstance(part, str) for pair in labels.items() for part in pair)


def _check_names(name: str, value: OneOrMore, known: Sequence[str] = ()) -> None:
    if value is not None and not isinstance(value, str | Sequence):
        raise ValidationError(f"{name} must be text or a list of texts, not {value!r}")
    for one in as_tuple(value):
        if not isinstance(one, str) or (known and one not in known):
            expected = f"one of {', '.join(known)}" if known else "text"
            raise ValidationError(f"{name} must be {expected}, not {one!r}")


def to_iso(moment: datetime) -> str:
    """Write a moment as stored times are written."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def add_ms(iso: str, ms: int) -> str:
    """Return the time `ms` milliseconds after a stored one."""
    return to_iso(datetime.fromisoformat(iso) + timedelta(milliseconds=ms))


def ms_between(start: str, end: str) -> int:
    """Return the milliseconds from one stored time to another."""
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000)


def as_tuple(filter_value: OneOrMore) -> tuple[str, ...]:
    """Return a filter's accepted values; an empty tuple accepts all."""
    if filter_value is None:
        return ()
    return (filter_value,) if isinstance(filter_value, str) else tuple(filter_value)


def camel_case(name: str) -> str:
    """Return the JavaScript spelling of a field's name."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
