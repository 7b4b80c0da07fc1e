"""What happened: one class an event, and the emitter that tells the listeners.

Events are not stored. Each follows the commit that it reports. `web/shared/events.js` is the same list for the page;
a test keeps the two equal.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from durably_wasm.clock import Clock
from durably_wasm.errors import ValidationError
from durably_wasm.models import LogLevel, Progress, to_iso
from durably_wasm.payloads import JsonValue
from durably_wasm.slots import call_outside_of_runs

_log = logging.getLogger("durably_wasm")

ErrorContext = Literal[
    "lease-renewal",
    "run-completion",
    "run-failure",
    "claim",
    "store",
    "progress",
    "log",
    "outbox",
    "crash",
    "idle-maintenance",
    "unknown-job",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What all events carry; the emitter sets ``timestamp`` and ``sequence`` (1, 2, … per engine)."""

    type: str = field(default="", init=False)
    timestamp: str = ""
    sequence: int = 0

    def stamp(self, timestamp: str, sequence: int) -> None:
        """Say when this happened. For the emitter alone, the first to see it: a copy would cost as much again."""
        object.__setattr__(self, "timestamp", timestamp)
        object.__setattr__(self, "sequence", sequence)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEvent(Event):
    """Something happened to a run."""

    run_id: str
    job_name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTrigger(RunEvent):
    """A new run was stored."""

    type: Literal["run:trigger"] = field(default="run:trigger", init=False)
    input: JsonValue


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCoalesced(RunEvent):
    """A trigger joined a pending run; ``labels`` are that run's, what is skipped was the trigger's."""

    type: Literal["run:coalesced"] = field(default="run:coalesced", init=False)
    skipped_input: JsonValue
    skipped_labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLeased(RunEvent):
    """A worker claimed the run and is about to execute it."""

    type: Literal["run:leased"] = field(default="run:leased", init=False)
    input: JsonValue
    lease_owner: str
    lease_expires_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLeaseRenewed(RunEvent):
    """The lease was extended beside the executing job."""

    type: Literal["run:lease-renewed"] = field(default="run:lease-renewed", init=False)
    lease_owner: str
    lease_expires_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunComplete(RunEvent):
    """The run completed; ``duration`` is this attempt's, in milliseconds."""

    type: Literal["run:complete"] = field(default="run:complete", init=False)
    output: JsonValue
    duration: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFail(RunEvent):
    """The run failed; ``failed_step_name`` is the first step of this attempt that did, or ``unknown``."""

    type: Literal["run:fail"] = field(default="run:fail", init=False)
    error: str
    failed_step_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCancel(RunEvent):
    """The run was cancelled."""

    type: Literal["run:cancel"] = field(default="run:cancel", init=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDelete(RunEvent):
    """The run was deleted, with all that belonged to it."""

    type: Literal["run:delete"] = field(default="run:delete", init=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgress(RunEvent):
    """The job said how far the run is; the newest value is stored soon."""

    type: Literal["run:progress"] = field(default="run:progress", init=False)
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent(RunEvent):
    """Something happened to a step."""

    step_name: str
    step_index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStart(StepEvent):
    """A step's function is about to be called."""

    type: Literal["step:start"] = field(default="step:start", init=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepComplete(StepEvent):
    """A step's result was stored: it will not run again. ``duration`` is in milliseconds."""

    type: Literal["step:complete"] = field(default="step:complete", init=False)
    output: JsonValue
    duration: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFail(StepEvent):
    """A step's function raised, or its result could not be stored."""

    type: Literal["step:fail"] = field(default="step:fail", init=False)
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCancel(StepEvent):
    """A running step was stopped by the run's cancellation or a lost lease."""

    type: Literal["step:cancel"] = field(default="step:cancel", init=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogWrite(RunEvent):
    """A job wrote a log line."""

    type: Literal["log:write"] = field(default="log:write", init=False)
    step_name: str | None
    level: LogLevel
    message: str
    data: JsonValue = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerError(Event):
    """The engine met a trouble that is not a job's; ``context`` says at what."""

    type: Literal["worker:error"] = field(default="worker:error", init=False)
    error: str
    context: ErrorContext
    run_id: str | None = None


EVENT_CLASSES: tuple[type[Event], ...] = (
    RunTrigger,
    RunCoalesced,
    RunLeased,
    RunLeaseRenewed,
    RunComplete,
    RunFail,
    RunCancel,
    RunDelete,
    RunProgress,
    StepStart,
    StepComplete,
    StepFail,
    StepCancel,
    LogWrite,
    WorkerError,
)
EVENT_TYPES: tuple[str, ...] = tuple(str(cls.__dataclass_fields__["type"].default) for cls in EVENT_CLASSES)
DOMAIN_EVENT_TYPES = frozenset({"run:trigger", "run:coalesced", "run:complete", "run:fail", "run:cancel", "run:delete"})

# A listener of one type takes that type's class; which one is known at run time only.
Listener: TypeAlias = Callable[[Any], object]
ErrorListener: TypeAlias = Callable[[BaseException, Event], object]


def is_domain_event(event: Event) -> bool:
    """Say whether an event belongs to the life of a run as its users see it, rather than to the engine's work."""
    return event.type in DOMAIN_EVENT_TYPES


class Emitter:
    """Numbers events and calls the listeners, in registration order.

    A listener that raises, or whose coroutine does, is reported to `on_error` and stops no other. A listener that
    another removes during an event does not get that event; one that is added then gets the next.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listeners: list[tuple[str, Listener]] = []
        self._on_error: ErrorListener = _log_listener_error
        self._sequence = 0
        self._running: set[asyncio.Future[object]] = set()

    def on(self, type: str, listener: Listener) -> Callable[[], None]:
        """Call `listener(event)` for each event of a type, or of every type for ``"*"``.

        Returns:
            A function that ends the subscription.

        Raises:
            ValidationError: There is no such type.
        """
        if type != "*" and type not in EVENT_TYPES:
            raise ValidationError(f"Unknown event type {type!r}; there are: {', '.join(EVENT_TYPES)}, *")
        entry = (type, listener)
        self._listeners = [*self._listeners, entry]

        def unsubscribe() -> None:
            self._listeners = [other for other in self._listeners if other is not entry]

        return unsubscribe

    def on_error(self, listener: ErrorListener) -> None:
        """Call `listener(error, event)` when a listener fails; the last one set wins."""
        self._on_error = listener

    def emit(self, event: Event) -> None:
        """Stamp an event with time and sequence, and tell the listeners."""
        self._sequence += 1
        if not self._listeners:
            return
        event.stamp(to_iso(self._clock.now()), self._sequence)
        call_outside_of_runs(self._tell, event)

    async def drain(self) -> None:
        """Wait for the listeners' coroutines that are still running."""
        while others := self._running - {asyncio.current_task()}:  # a listener may wait for its own engine to stop
            await asyncio.wait(others)

    def _tell(self, event: Event) -> None:
        listeners = self._listeners
        for entry in listeners:
            is_removed = self._listeners is not listeners and not any(other is entry for other in self._listeners)
            if entry[0] in ("*", event.type) and not is_removed:
                self._call(entry[1], event)

    def _call(self, listener: Listener, event: Event) -> None:
        try:
            outcome = listener(event)
        except Exception as error:
            self._report(error, event)
        else:
            if outcome is not None and inspect.isawaitable(outcome):
                self._follow(outcome, event)

    def _follow(self, outcome: Awaitable[object], event: Event) -> None:
        future = asyncio.ensure_future(outcome)
        self._running.add(future)

        def ended(future: asyncio.Future[object]) -> None:
            self._running.discard(future)
            if not future.cancelled() and (error := future.exception()):
                self._report(error, event)

        future.add_done_callback(ended)

    def _report(self, error: BaseException, event: Event) -> None:
        try:
            self._on_error(error, event)
        except Exception:
            _log.exception("The error listener failed on %s", event.type)


def _log_listener_error(error: BaseException, event: Event) -> None:
    _log.error("A listener of %s failed", event.type, exc_info=error)
