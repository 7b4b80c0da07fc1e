"""What an idle engine looks after: runs that are kept long enough, and runs whose job it does not know."""

from __future__ import annotations

from collections.abc import Container

from durably_wasm import transitions
from durably_wasm.environment import Environment
from durably_wasm.events import WorkerError
from durably_wasm.models import Run, RunFilter
from durably_wasm.room import purge_ended

_PURGE_EVERY_MS = 60_000
_LOOKED_AT = 100


class Maintenance:
    """Done whenever nothing is due. Its troubles are told by ``worker:error`` and disturb nobody."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._last_purge: float | None = None
        self._reported: set[str] = set()
        self._seen = ("", "")  # the age of the newest pending run that was looked at

    async def run(self, known_jobs: Container[str]) -> None:
        """Purge what is due, at most once a minute, and report unknown jobs, each name once."""
        try:
            await self._report_unknown_jobs(known_jobs)
            await self._purge()
        except Exception as error:  # whatever it is, the worker goes on, unless the store is gone for good
            self._environment.report(error, "idle-maintenance")

    async def _purge(self) -> None:
        now = self._environment.monotonic()
        if self._last_purge is None or now - self._last_purge >= _PURGE_EVERY_MS:
            self._last_purge = now
            await purge_ended(self._environment)

    async def _report_unknown_jobs(self, known_jobs: Container[str]) -> None:
        """Look at the pending runs that are newer than what was looked at before, newest first."""
        seen, newest, offset, limit = self._seen, self._seen, 0, 1
        while True:
            filter = RunFilter(status="pending", limit=limit, offset=offset)
            waiting = await self._environment.store.get_runs(filter)
            for run in waiting:
                if transitions.age(run) <= seen:
                    break
                newest = max(newest, transitions.age(run))
                self._report_if_unknown(run, known_jobs)
            else:
                if len(waiting) == limit:
                    offset, limit = offset + limit, _LOOKED_AT
                    continue
            self._seen = newest
            return

    def _report_if_unknown(self, run: Run, known_jobs: Container[str]) -> None:
        if run.job_name not in known_jobs and run.job_name not in self._reported:
            self._reported.add(run.job_name)
            error = f"Runs of job {run.job_name!r} wait: no such job is registered"
            self._environment.emitter.emit(WorkerError(error=error, context="unknown-job", run_id=run.id))
