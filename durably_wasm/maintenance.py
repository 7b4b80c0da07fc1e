"""What an idle engine looks after: runs that are kept long enough, and runs whose job it does not know."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from durably_wasm.environment import Environment
from durably_wasm.errors import message_of
from durably_wasm.events import ErrorContext, WorkerError
from durably_wasm.models import RunFilter, to_iso
from durably_wasm.options import retention

_PURGE_EVERY = timedelta(minutes=1)
_PURGED_AT_ONCE = 100
_LOOKED_AT = 100


class Maintenance:
    """Done whenever nothing is due. Its troubles are told by ``worker:error`` and disturb nobody."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._kept = retention(environment.options.retain_runs)
        self._last_purge: datetime | None = None
        self._reported: set[str] = set()
        self._known_at_last_look: int | None = None

    async def run(self, known_jobs: Collection[str]) -> None:
        """Purge what is due, at most once a minute, and report unknown jobs, each name once."""
        try:
            await self._report_unknown_jobs(known_jobs)
            await self._purge()
        except Exception as error:  # whatever it is, the worker goes on
            self._report(message_of(error), "idle-maintenance")

    async def _purge(self) -> None:
        now = self._environment.clock.now()
        if self._kept is None or (self._last_purge is not None and now - self._last_purge < _PURGE_EVERY):
            return
        self._last_purge = now
        await self._environment.store.purge_runs(to_iso(now - self._kept), _PURGED_AT_ONCE)

    async def _report_unknown_jobs(self, known_jobs: Collection[str]) -> None:
        if self._environment.options.exclusive and self._known_at_last_look == len(known_jobs):
            return  # nobody else stores runs here, and this engine refuses those of jobs that it does not know
        self._known_at_last_look = len(known_jobs)
        waiting = await self._environment.store.get_runs(RunFilter(status="pending", limit=_LOOKED_AT))
        for run in waiting:
            if run.job_name not in known_jobs and run.job_name not in self._reported:
                self._reported.add(run.job_name)
                message = f"Runs of job {run.job_name!r} wait: no such job is registered"
                self._report(message, "unknown-job", run.id)

    def _report(self, message: str, context: ErrorContext, run_id: str | None = None) -> None:
        self._environment.emitter.emit(WorkerError(error=message, context=context, run_id=run_id))
