"""The handle of a registered job: how its runs are triggered and looked up, with the job's own types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic

from durably_wasm.environment import Environment
from durably_wasm.errors import ValidationError
from durably_wasm.job import JobDefinition
from durably_wasm.models import (
    Coalesce,
    EnqueueResult,
    In,
    NewRun,
    OneOrMore,
    Out,
    Run,
    RunFilter,
    TriggerItem,
    TriggerResult,
    UnreadableRun,
    UnreadableTriggerResult,
    WaitResult,
)
from durably_wasm.payloads import JsonValue
from durably_wasm.schema import explain
from durably_wasm.triggering import Triggering
from durably_wasm.waiting import OnLog, OnProgress, check_wait, wait_for_run

_FIELDS = [field.name for field in fields(Run)]


class JobHandle(Generic[In, Out]):
    """One registered job of an engine; `create_durably` makes it."""

    def __init__(self, definition: JobDefinition[In, Out], environment: Environment, triggering: Triggering) -> None:
        self._definition = definition
        self._environment = environment
        self._triggering = triggering

    @property
    def name(self) -> str:
        """The job's name."""
        return self._definition.name

    @property
    def definition(self) -> JobDefinition[In, Out]:
        """The definition that was registered."""
        return self._definition

    async def trigger(
        self,
        input: In | Mapping[str, object] | None = None,
        *,
        idempotency_key: str | None = None,
        concurrency_key: str | None = None,
        coalesce: Coalesce | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> TriggerResult[In, Out]:
        """Store a run of this job and wake the worker.

        Args:
            input: An instance of the declared type, or plain data that validates into it.
            idempotency_key: A second trigger of this job with the same one returns the first one's run.
            concurrency_key: Runs with the same one do not run at the same time, and one at most is pending a job.
            coalesce: With ``"skip"``, join the pending run of the same concurrency key instead of raising.
            labels: Immutable text by key, to find the run by.

        Returns:
            The run, and whether it is new (``disposition``).

        Raises:
            ValidationError: The input, a key or a label is wrong; nothing is stored.
            ConflictError: A pending run has the concurrency key.
        """
        new = await self._triggering.new_run(
            self.name,
            self._definition.input_to_json(input),
            idempotency_key=idempotency_key,
            concurrency_key=concurrency_key,
            coalesce=coalesce,
            labels=labels,
        )
        return _typed_result(self._definition, await self._triggering.enqueue(new))

    async def batch_trigger(
        self, items: Sequence[In | Mapping[str, object] | TriggerItem[Any]]
    ) -> list[TriggerResult[In, Out]]:
        """Store a run for each item, all of them in one transaction or, if anything is wrong, none.

        An item is an input, or a `TriggerItem` that has more than that.

        Raises:
            ValidationError: An item is wrong; the message says ``at index i``.
            ConflictError: A pending run has one of the concurrency keys.
        """
        results = await self._batch(items, self._definition.input_to_json)
        return [_typed_result(self._definition, result) for result in results]

    async def batch_trigger_json(
        self, items: Sequence[TriggerItem[JsonValue]], *, call_id: str | None = None
    ) -> list[TriggerResult]:
        """Trigger a batch whose inputs come as JSON; see `trigger_json`."""
        results = await self._batch(items, self._definition.check_json_input, call_id)
        return [TriggerResult(**_values(result.run), disposition=result.disposition) for result in results]

    async def trigger_json(self, input: JsonValue, *, call_id: str | None = None, **options: Any) -> TriggerResult:
        """Trigger with an input that comes as JSON, from a page, where text may stand for dates or bytes.

        Otherwise as `trigger`; the result's values are JSON too. A call with the id of an earlier one changes nothing.
        """
        new = await self._triggering.new_run(self.name, self._definition.check_json_input(input), **options)
        result = await self._triggering.enqueue(new, call_id)
        return TriggerResult(**_values(result.run), disposition=result.disposition)

    async def trigger_and_wait(
        self,
        input: In | Mapping[str, object] | None = None,
        *,
        timeout_ms: float | None = None,
        polling_interval_ms: int | None = None,
        on_progress: OnProgress | None = None,
        on_log: OnLog | None = None,
        idempotency_key: str | None = None,
        concurrency_key: str | None = None,
        coalesce: Coalesce | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> WaitResult[Out]:
        """Trigger a run and return its output once it is completed; see `trigger` and `Durably.wait_for_run`."""
        check_wait(timeout_ms, polling_interval_ms)  # before anything is stored
        triggered = await self.trigger(
            input,
            idempotency_key=idempotency_key,
            concurrency_key=concurrency_key,
            coalesce=coalesce,
            labels=labels,
        )
        run = await wait_for_run(
            self._environment,
            triggered.id,
            timeout_ms=timeout_ms,
            polling_interval_ms=polling_interval_ms,
            on_progress=on_progress,
            on_log=on_log,
        )
        typed = _typed(self._definition, run)
        if typed.decode_error is not None:
            raise ValidationError(typed.decode_error)
        output: Any = typed.output
        return WaitResult(id=run.id, output=output, disposition=triggered.disposition)

    async def _batch(
        self, items: Sequence[object], check: Callable[[Any], JsonValue], call_id: str | None = None
    ) -> list[EnqueueResult]:
        if not isinstance(items, Sequence) or isinstance(items, str | bytes):
            raise ValidationError(f"A batch is a list of items, not {items!r}")
        new_runs: list[NewRun] = []
        for index, item in enumerate(items):
            new_runs.append(await self._new_run_at(index, item, check, new_runs))
        return await self._triggering.enqueue_many(new_runs, call_id) if new_runs else []

    async def _new_run_at(
        self, index: int, item: object, check: Callable[[Any], JsonValue], before: Sequence[NewRun]
    ) -> NewRun:
        if not isinstance(item, TriggerItem):
            item = TriggerItem(item)
        try:
            return await self._triggering.new_run(
                self.name,
                check(item.input),
                idempotency_key=item.idempotency_key,
                concurrency_key=item.concurrency_key,
                coalesce=item.coalesce,
                labels=item.labels,
                before=before,
            )
        except ValidationError as error:
            raise ValidationError(f"{error} (at index {index})") from error

    async def get_run(self, run_id: str) -> Run[In, Out] | None:
        """Return a run of this job, or None when there is none or it is another job's."""
        run = await self._environment.store.get_run(run_id)
        return None if run is None or run.job_name != self.name else _typed(self._definition, run)

    async def get_runs(
        self,
        *,
        status: OneOrMore = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Run[In, Out]]:
        """Return this job's runs that match, newest first; see `Durably.get_runs`."""
        found = await self._environment.store.get_runs(RunFilter(status, self.name, labels, limit, offset))
        return [_typed(self._definition, run) for run in found]


class Jobs(Mapping[str, JobHandle[Any, Any]]):
    """The handles of the registered jobs, by attribute or item, under the keys they were registered with."""

    def __init__(self, handles: Mapping[str, JobHandle[Any, Any]]) -> None:
        self._handles = handles

    def __getattr__(self, key: str) -> JobHandle[Any, Any]:
        try:
            return self._handles[key]
        except KeyError:
            raise AttributeError(f"No job is registered as {key!r}; there are: {', '.join(self._handles)}") from None

    def __getitem__(self, key: str) -> JobHandle[Any, Any]:
        return self._handles[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)


def _typed(definition: JobDefinition[In, Out], run: Run) -> Run[In, Out]:
    """Return a run with its input and output as the declared types or, where they do not fit those, with the reason."""
    values: dict[str, Any] = _values(run)
    if run.decode_error is not None:
        return UnreadableRun(**values, decode_error=run.decode_error)
    try:
        input = definition.input_schema.from_json(run.input)
        output = definition.output_schema.from_json(run.output) if run.status == "completed" else None
    except Exception as error:  # a user's validator may raise anything
        reason = f"Run {run.id} does not fit job {run.job_name!r} any more: {explain(error)}"
        return UnreadableRun(**values, decode_error=reason)
    return Run(**{**values, "input": input, "output": output})


def _typed_result(definition: JobDefinition[In, Out], result: EnqueueResult) -> TriggerResult[In, Out]:
    run, disposition = _typed(definition, result.run), result.disposition
    if run.decode_error is None:
        return TriggerResult(**_values(run), disposition=disposition)
    return UnreadableTriggerResult(**_values(run), disposition=disposition, decode_error=run.decode_error)


def _values(run: Run[Any, Any]) -> dict[str, Any]:
    return {name: getattr(run, name) for name in _FIELDS}
