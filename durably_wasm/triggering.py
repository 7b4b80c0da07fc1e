"""From a trigger to a stored run: what is checked before anything is stored, and what is told afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydantic

from durably_wasm.environment import Environment
from durably_wasm.errors import ConflictError, ValidationError
from durably_wasm.events import RunCoalesced, RunTrigger
from durably_wasm.identifiers import check_identifier, check_text
from durably_wasm.job import JobDefinition
from durably_wasm.models import TERMINAL, Coalesce, EnqueueResult, NewRun, Run
from durably_wasm.payloads import JsonValue
from durably_wasm.room import with_room
from durably_wasm.schema import Schema, explain

_LABEL_KEY = re.compile(r"[a-zA-Z0-9\-_./]+")


class Triggering:
    """Stores runs on behalf of the job handles, and wakes the worker for them."""

    def __init__(self, environment: Environment, labels: Schema[Any], wake: Callable[[], None]) -> None:
        self._environment = environment
        self._labels = labels
        self._wake = wake

    async def new_run(
        self,
        job_name: str,
        input: JsonValue,
        *,
        idempotency_key: str | None = None,
        concurrency_key: str | None = None,
        coalesce: Coalesce | None = None,
        labels: Mapping[str, str] | None = None,
        before: Sequence[NewRun] = (),
    ) -> NewRun:
        """Check what comes with a validated input, unless the idempotency key leads to a run that is there.

        `before` are the runs that are stored along with this one, and before it.

        Raises:
            ValidationError: A key, a label or `coalesce` is wrong; the message names it.
        """
        idempotency_key = _checked_key("idempotency_key", idempotency_key)
        try:
            return self._checked(job_name, input, idempotency_key, concurrency_key, coalesce, labels)
        except ValidationError:
            if idempotency_key is None or not await self._leads_to_a_run(job_name, idempotency_key, before):
                raise
            return NewRun(job_name, input, idempotency_key)

    async def _leads_to_a_run(self, job_name: str, idempotency_key: str, before: Sequence[NewRun]) -> bool:
        if any((new.job_name, new.idempotency_key) == (job_name, idempotency_key) for new in before):
            return True
        return await self._environment.store.get_run_by_idempotency_key(job_name, idempotency_key) is not None

    def _checked(
        self,
        job_name: str,
        input: JsonValue,
        idempotency_key: str | None,
        concurrency_key: str | None,
        coalesce: Coalesce | None,
        labels: Mapping[str, str] | None,
    ) -> NewRun:
        concurrency_key = _checked_key("concurrency_key", concurrency_key)
        if coalesce not in (None, "skip"):
            raise ValidationError(f'coalesce must be "skip" or None, not {coalesce!r}')
        if coalesce is not None and concurrency_key is None:
            raise ValidationError("coalesce needs a concurrency_key: it joins the pending run that has the same one")
        return NewRun(job_name, input, idempotency_key, concurrency_key, coalesce, self._checked_labels(labels))

    async def repetition(self, run: Run, job: JobDefinition[Any, Any]) -> NewRun:
        """Return what triggers an ended run again: labels and concurrency key are kept, the idempotency key is not.

        Raises:
            ConflictError: It has not ended.
            ValidationError: Its input does not fit the job any more.
        """
        if run.decode_error is not None:
            raise ValidationError(f"Cannot retrigger run {run.id}: {run.decode_error}")
        try:
            input = job.check_stored_input(run.input)
        except ValidationError as error:
            raise ValidationError(f"Cannot retrigger run {run.id}: {error}") from error
        if run.status not in TERMINAL:
            raise ConflictError(f"Cannot retrigger run {run.id}: it is {run.status}")
        return await self.new_run(run.job_name, input, concurrency_key=run.concurrency_key, labels=run.labels)

    async def enqueue(self, new: NewRun, call_id: str | None = None) -> EnqueueResult:
        """Store a run, tell of it and wake the worker."""
        [result] = await self.enqueue_many([new], call_id)
        return result

    async def enqueue_many(self, new_runs: Sequence[NewRun], call_id: str | None = None) -> list[EnqueueResult]:
        """Store several runs in one transaction, tell of them and wake the worker.

        A call that was applied before was told of then.
        """
        environment = self._environment
        results = await with_room(
            environment,
            lambda: environment.store.enqueue_many(new_runs, environment.now(), call_id=call_id, in_order=True),
        )
        for new, result in zip(new_runs, results, strict=True):
            if not result.is_repeated:
                self._tell(new, result)
        self._wake()
        return results

    def _tell(self, new: NewRun, result: EnqueueResult) -> None:
        run = result.run
        if result.disposition == "created":
            self._environment.emitter.emit(
                RunTrigger(run_id=run.id, job_name=run.job_name, labels=dict(run.labels), input=run.input)
            )
        elif result.disposition == "coalesced":
            self._environment.emitter.emit(
                RunCoalesced(
                    run_id=run.id,
                    job_name=run.job_name,
                    labels=dict(run.labels),
                    skipped_input=new.input,
                    skipped_labels=dict(new.labels),
                )
            )

    def _checked_labels(self, labels: Mapping[str, str] | None) -> dict[str, str]:
        if labels is not None and not isinstance(labels, Mapping):
            raise ValidationError(f"labels must be a mapping of text to text, not {labels!r}")
        checked = dict(_checked_label(key, value) for key, value in (labels or {}).items())
        try:
            self._labels.validate(checked)
        except pydantic.ValidationError as error:
            raise ValidationError(f"Invalid labels: {explain(error)}") from error
        return checked


def _checked_key(name: str, key: object) -> str | None:
    return None if key is None else check_identifier(name, key)


def _checked_label(key: object, value: object) -> tuple[str, str]:
    text = check_identifier("A label's key", key)
    if not _LABEL_KEY.fullmatch(text):
        raise ValidationError(f"Label key {text!r} may only have letters, digits and - _ . /")
    return text, check_text(f"The value of label {text!r}", value)
