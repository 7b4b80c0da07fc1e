"""The deaths of Python, which takes all runs down that it executes: told, counted, and in a loop a run's end."""

from __future__ import annotations

from collections.abc import Callable, Collection

from durably_wasm.environment import Environment
from durably_wasm.events import Emitter, Event, RunFail, StepComplete, WorkerError
from durably_wasm.models import Run
from durably_wasm.room import with_room


async def report_crash(
    environment: Environment, run_ids: Collection[str], reason: str, call_id: str | None
) -> list[str]:
    """Count a death against the runs that were leased then, tell of it, and return those that have failed of it."""
    store, emitter = environment.store, environment.emitter
    now, keep = environment.now, environment.options.preserve_steps
    failed = await with_room(
        environment, lambda: store.record_crash(run_ids, reason, now(), keep_steps=keep, call_id=call_id)
    )
    emitter.emit(WorkerError(error=reason, context="crash", run_id=_only(run_ids)))
    for run_id in failed:
        run = await store.get_run(run_id)
        if run is not None:
            emitter.emit(failure_of(run))
    return failed


def failure_of(run: Run) -> RunFail:
    """Return the event of a run that failed without being executed."""
    return RunFail(
        run_id=run.id,
        job_name=run.job_name,
        labels=dict(run.labels),
        error=run.error or "",
        failed_step_name="unknown",
    )


class Suspects:
    """The runs any of which may have been the cause of a death.

    Until each has completed a step or left this engine, one run is executed at a time: so the next death is counted
    against its cause alone, and what was only executed beside that one does not fail with it. `wake` is called when
    none is left.
    """

    def __init__(self, emitter: Emitter, wake: Callable[[], None]) -> None:
        self._emitter = emitter
        self._wake = wake
        self._run_ids: set[str] = set()
        self._unsubscribe: Callable[[], None] = lambda: None

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._run_ids)

    def add(self, run_ids: Collection[str]) -> None:
        """Suspect runs."""
        if run_ids and not self._run_ids:
            self._unsubscribe = self._emitter.on("step:complete", self._hear)
        self._run_ids.update(run_ids)

    def clear(self, run_id: str) -> None:
        """Suspect a run no more."""
        if self._run_ids == {run_id}:
            self.clear_all()
        self._run_ids.discard(run_id)

    def clear_all(self) -> None:
        """Suspect nothing any more."""
        if self._run_ids:
            self._run_ids.clear()
            self._unsubscribe()
            self._wake()

    def _hear(self, event: Event) -> None:
        if isinstance(event, StepComplete):
            self.clear(event.run_id)


def _only(run_ids: Collection[str]) -> str | None:
    """Return the one run that it must have been."""
    return next(iter(run_ids)) if len(run_ids) == 1 else None
