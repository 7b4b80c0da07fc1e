"""The step context: what a job function is given to make its work durable."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar, overload

from durably_wasm.attempt import Attempt
from durably_wasm.cancellation import cancel_and_wait, to_its_end
from durably_wasm.errors import StopExecution, ValidationError, message_of
from durably_wasm.events import LogWrite, RunProgress, StepCancel, StepComplete, StepFail, StepStart
from durably_wasm.exits import TaskExit, interrupt_in
from durably_wasm.identifiers import check_identifier
from durably_wasm.models import LogLevel, NewStep, Progress, Step
from durably_wasm.payloads import JsonValue, short_repr, to_json
from durably_wasm.schema import Schema, explain, schema_of, schema_of_result

T = TypeVar("T")

_PROGRESS_INTERVAL_MS = 100

_current_step: ContextVar[str | None] = ContextVar("current_step", default=None)


class StepContext:
    """Runs the steps of one run; a job function's first argument.

    Attributes:
        log: Writes log lines, ``log.info(message, data=None)``, ``log.warn`` and ``log.error``.
    """

    def __init__(self, attempt: Attempt, progress: ProgressWriter) -> None:
        self._attempt = attempt
        self._progress = progress
        self._used: set[str] = set()
        self._warned: set[str] = set()
        self.log = StepLog(attempt)

    @property
    def run_id(self) -> str:
        """The id of the run that is being executed."""
        return self._attempt.run.id

    @overload
    async def run(
        self, name: str, fn: Callable[..., object], /, *args: object, returns: type[T], **kwargs: object
    ) -> T: ...
    @overload
    async def run(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: object,
        returns: None = None,
        **kwargs: object,
    ) -> T: ...
    @overload
    async def run(
        self, name: str, fn: Callable[..., T], /, *args: object, returns: None = None, **kwargs: object
    ) -> T: ...
    async def run(
        self, name: str, fn: Callable[..., Any], /, *args: object, returns: Any = None, **kwargs: object
    ) -> Any:
        """Call ``fn(*args, **kwargs)``, store its result under `name` and return it; if it is stored, only return it.

        `fn` may be a plain or an async function. Live and on a replay the value is the same: the stored JSON,
        validated into `returns` or the return annotation of `fn` where there is one.

        Raises:
            Whatever `fn` raises; the run goes on if the job catches it, and a further call executes `fn` again.
            ValidationError: The name is no identifier (see `identifiers`).
            TypeError: JSON cannot hold the result, it does not fit the declared type, or would not be read back equal.
            ConflictError: A step of this name is running at the same time.
            StopExecution: The run was cancelled or its lease lost. Let it pass.
        """
        self._attempt.raise_if_stopped()
        name = check_identifier("A step's name", name)
        repeated = name in self._used
        self._used.add(name)
        if self._attempt.is_completed(name):
            if repeated:
                self._warn_of_repetition(name)
            stored = await self._attempt.stored_step(name)
            return _result_schema(name, fn, returns).from_json(stored.output)
        await self._attempt.wait_while_paused()
        execution = _StepExecution(self._attempt, name, self._attempt.begin(name))
        token = _current_step.set(name)
        try:
            return await execution.execute(lambda: fn(*args, **kwargs), lambda: _result_schema(name, fn, returns))
        finally:
            self._attempt.end(name)
            _current_step.reset(token)
            await self._attempt.breathe()

    def progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is. Returns at once; the newest value is stored, at most ten times a second.

        Raises:
            ValidationError: A number is none, or not finite, or the message is not text.
        """
        for value in (current, 0 if total is None else total):
            if not (isinstance(value, int | float) and abs(value) <= sys.float_info.max):
                raise ValidationError(f"progress takes finite numbers, not {short_repr(value)}")
        if message is not None and not isinstance(message, str):
            raise ValidationError(f"progress takes text as its message, not {short_repr(message)}")
        self._progress.set(Progress(current, total, message))

    def is_aborted(self) -> bool:
        """Say whether the run was cancelled or its lease lost; a long synchronous step may ask."""
        return self._attempt.stopped is not None

    def raise_if_aborted(self) -> None:
        """Raise `StopExecution` if the run was cancelled or its lease lost."""
        self._attempt.raise_if_stopped()

    def _warn_of_repetition(self, name: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            self.log.warn(f"Step {name!r} was called again in this run: the first result is returned")


class StepLog:
    """Writes log lines; each names the step that it was written in."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def info(self, message: str, data: object = None) -> None:
        """Log what happens. `data` is anything that JSON can hold; of anything else its `repr` is kept."""
        self._write("info", message, data)

    def warn(self, message: str, data: object = None) -> None:
        """Log what somebody should look at."""
        self._write("warn", message, data)

    def error(self, message: str, data: object = None) -> None:
        """Log what went wrong."""
        self._write("error", message, data)

    def _write(self, level: LogLevel, message: str, data: object) -> None:
        if self._attempt.is_abandoned:
            return
        self._attempt.emitter.emit(
            LogWrite(
                **self._attempt.fields,
                step_name=_current_step.get(),
                level=level,
                message=_text(message),
                data=_loggable(data),
            )
        )


class ProgressWriter:
    """Tells of each progress at once, and stores the newest, at most ten times a second."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._newest: Progress | None = None
        self._writer: asyncio.Task[None] | None = None

    def set(self, progress: Progress) -> None:
        """Tell of a new value, and store it soon; of a run that was stopped or has ended there is none."""
        if self._attempt.stopped is not None or self._attempt.has_ended:
            return
        self._attempt.emitter.emit(RunProgress(**self._attempt.fields, progress=progress))
        self._newest = progress
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_while_there_is_news())

    async def flush(self) -> None:
        """Store the newest value now, if it is not stored yet."""
        if self._writer is not None:
            await cancel_and_wait(self._writer)
        await self._write()

    async def _write_while_there_is_news(self) -> None:
        while self._newest is not None:
            await to_its_end(self._write())
            await self._attempt.clock.sleep(_PROGRESS_INTERVAL_MS)

    async def _write(self) -> None:
        progress, self._newest = self._newest, None
        if progress is None or self._attempt.stopped is not None:
            return
        try:
            await self._attempt.write_progress(progress)
        except Exception as error:  # a run does not fail of its progress
            self._attempt.report(error, "progress")


class _StepExecution:
    """One call of a step's function, to its checkpoint."""

    def __init__(self, attempt: Attempt, name: str, index: int) -> None:
        self._attempt = attempt
        self._name = name
        self._index = index
        self._since = attempt.now()
        self._started = attempt.monotonic()

    async def execute(self, call: Callable[[], object], find_schema: Callable[[], Schema[T]]) -> T:
        self._attempt.emitter.emit(StepStart(**self._attempt.fields, step_name=self._name, step_index=self._index))
        try:
            schema = find_schema()
            await self._attempt.settle()
            result = call()
            value, read_back = self._storable(await result if inspect.isawaitable(result) else result, schema)
        except GeneratorExit:
            raise  # the coroutine is thrown away: nothing can be awaited any more
        except BaseException as error:
            if self._is_stopped_by(error):
                self._cancel()
            else:
                await to_its_end(self._fail(error))
            if isinstance(error, SystemExit | KeyboardInterrupt) and asyncio.current_task() is not self._attempt.job:
                raise TaskExit(error) from error
            raise
        await to_its_end(self._complete(value))
        return read_back

    def _is_stopped_by(self, error: BaseException) -> bool:
        """Say whether an error is the step's being stopped: not a stray CancelledError, but any cleanup that failed."""
        if self._attempt.stopped is not None or isinstance(error, StopExecution) or interrupt_in(error):
            return True
        task = asyncio.current_task()
        return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0

    def _storable(self, result: object, schema: Schema[T]) -> tuple[JsonValue, T]:
        """Return a result as it is stored, and as it is read back from there, live and on every replay."""
        try:
            return schema.round_trip(schema.validate(result))
        except Exception as error:  # a user's validator may raise anything
            raise TypeError(f"The result of step {self._name!r} cannot be stored: {explain(error)}") from error

    async def _complete(self, value: JsonValue) -> None:
        new = NewStep(self._name, self._index, "completed", output=value, started_at=self._since)
        try:
            step = await self._persist(new)
        except Exception as error:  # the store refuses this result for ever
            await self._fail(error)
            raise
        duration = self._attempt.monotonic() - self._started
        self._attempt.emitter.emit(
            StepComplete(
                **self._attempt.fields,
                step_name=self._name,
                step_index=self._index,
                output=step.output,
                duration=round(duration),
            )
        )

    async def _fail(self, error: BaseException) -> None:
        message = message_of(error)
        try:
            await self._persist(NewStep(self._name, self._index, "failed", error=message, started_at=self._since))
        except Exception as refusal:  # the step has failed, whether the store keeps that or not
            self._attempt.report(refusal, "store")
        self._attempt.emitter.emit(
            StepFail(**self._attempt.fields, step_name=self._name, step_index=self._index, error=message)
        )

    async def _persist(self, new: NewStep) -> Step:
        try:
            return await self._attempt.persist(new)
        except StopExecution:
            self._cancel()
            raise

    def _cancel(self) -> None:
        if not self._attempt.is_running(self._name):  # it was abandoned, and that was told
            return
        self._attempt.emitter.emit(StepCancel(**self._attempt.fields, step_name=self._name, step_index=self._index))


def _result_schema(name: str, fn: Callable[..., object], returns: Any) -> Schema[Any]:
    try:
        return schema_of_result(fn) if returns is None else schema_of(returns)
    except ValidationError as error:
        raise ValidationError(f"Step {name!r}: {error}") from error


def _text(message: object) -> str:
    try:
        return str(message)
    except Exception:  # a user's own `__str__` may raise anything
        return _repr(message)


def _loggable(data: object) -> JsonValue:
    try:
        return to_json(data, fallback=repr)
    except Exception:  # so may a serializer
        return _repr(data)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return short_repr(value)
