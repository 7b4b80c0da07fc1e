"""The contract of a store. Its tests, the same for every store, are in `tests/contract`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from durably_wasm.models import (
    EnqueueResult,
    Log,
    NewLog,
    NewRun,
    NewStep,
    Progress,
    Run,
    RunError,
    RunFilter,
    Step,
)
from durably_wasm.payloads import JsonValue


class Store(Protocol):
    """Where runs and steps live.

    For implementers: every method is one atomic operation, whatever else is going on in other tabs or processes; it
    applies wholly or raises `StoreError`, with `is_full` where there is no room left. `now` and all times are ISO text;
    durations are milliseconds. Values are JSON values, kept as text (`payloads.encode`) and decoded on the way out, so
    nothing aliases what a caller holds. A store never emits an event, validates an input or reads a clock. What may
    happen to a run is decided by `transitions`, or says the same.

    Methods that take a `generation` are a lease-holder's writes: refused (False or None, nothing written) unless the
    run is leased under that generation.

    Methods that take a `call_id` are a page's calls, which may come twice: with an id that was applied before they
    change nothing and return what they returned then.
    """

    async def migrate(self) -> None:
        """Open the database and bring its schema up to date; harmless when it is."""
        ...

    async def close(self) -> None:
        """Release the database; harmless when it is closed."""
        ...

    async def advance_epoch(self) -> int:
        """Count the epoch up, for a caller that holds the database's lock, and return it.

        From then on this object's changing operations raise `StoreError` with `is_final` once the epoch has been
        advanced by another: an engine that lost the lock without noticing writes nothing any more.
        """
        ...

    async def enqueue(
        self, new_run: NewRun, now: str, *, call_id: str | None = None, in_order: bool = False
    ) -> EnqueueResult:
        """Store a pending run, or return the run that its keys lead to (see `transitions.enqueue`).

        With `in_order` it is newer than all runs that are stored, by time and id, though the wall clock was set back.

        Raises:
            ConflictError: Its concurrency key is held by a pending run and it does not coalesce.
        """
        ...

    async def enqueue_many(
        self, new_runs: Sequence[NewRun], now: str, *, call_id: str | None = None, in_order: bool = False
    ) -> list[EnqueueResult]:
        """Store several runs as if by `enqueue` one after another, all of them or, on a conflict, none."""
        ...

    async def get_run(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        ...

    async def get_run_by_idempotency_key(self, job_name: str, key: str) -> Run | None:
        """Return the run of a job that was triggered with a key, or None."""
        ...

    async def get_runs(self, filter: RunFilter) -> list[Run]:
        """Return the runs that match, newest first (by ``created_at``, then ``id``)."""
        ...

    async def get_steps(self, run_id: str) -> list[Step]:
        """Return a run's stored steps by index."""
        ...

    async def get_logs(self, run_id: str) -> list[Log]:
        """Return a run's stored log lines in the order they were written."""
        ...

    async def claim_next(
        self,
        worker_id: str,
        now: str,
        lease_ms: int,
        *,
        jobs: Collection[str] | None = None,
        exclude: Collection[str] = (),
        epoch: int | None = None,
        max_claims_without_progress: int | None = None,
        keep_steps: bool = False,
    ) -> Run | None:
        """Lease the oldest run that is due to a worker and return it, or None (see `transitions.next_claim`).

        `jobs` are the names to choose from (None: any), `exclude` the ids of runs that this worker is executing,
        `epoch` that of a caller under the database's lock. Of any number of concurrent callers one gets a run.

        A run that was claimed `max_claims_without_progress` times (None: any number) without completing a step fails
        instead and is returned so; unless `keep_steps`, its steps are deleted (see `transitions.no_progress`). Its last
        progress is kept beside the run, for as long as the run is; a first claim does not ask for it.
        """
        ...

    async def renew_lease(self, run_id: str, generation: int, now: str, lease_ms: int) -> bool:
        """Extend the lease to `lease_ms` from now, also after it has expired."""
        ...

    async def release_lease(self, run_id: str, generation: int, now: str) -> bool:
        """Give the run back, for anyone to claim at once."""
        ...

    async def release_expired_leases(self, now: str) -> int:
        """Put runs whose lease has expired back to pending and return how many (see `transitions.expire`)."""
        ...

    async def persist_step(
        self, run_id: str, generation: int, step: NewStep, now: str, lease_ms: int = 30_000
    ) -> Step | None:
        """Checkpoint a step, extend the lease, and return the step as stored; None when refused.

        What it costs must not depend on the size of the run's input or on the number of its steps.
        """
        ...

    async def complete_run(
        self, run_id: str, generation: int, output: JsonValue, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as completed and, unless `keep_steps`, delete its steps."""
        ...

    async def fail_run(
        self, run_id: str, generation: int, error: RunError, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as failed and, unless `keep_steps`, delete its steps."""
        ...

    async def cancel_run(self, run_id: str, now: str, *, keep_steps: bool = False, call_id: str | None = None) -> bool:
        """End a pending or leased run as cancelled; False when there is none or it has ended."""
        ...

    async def record_crash(
        self, run_ids: Collection[str], reason: str, now: str, *, keep_steps: bool = False, call_id: str | None = None
    ) -> list[str]:
        """Count a death of Python against the leased ones of these runs (see `transitions.crash`).

        Returns the ids of those that have failed of it; unless `keep_steps`, their steps are deleted. What is counted
        is kept beside the run, for as long as the run is.
        """
        ...

    async def update_progress(self, run_id: str, generation: int, progress: Progress | None, now: str) -> bool:
        """Store how far the run says it is."""
        ...

    async def delete_steps(self, run_id: str) -> None:
        """Delete a run's steps."""
        ...

    async def delete_run(self, run_id: str, *, call_id: str | None = None) -> None:
        """Delete a run with its steps, logs and payloads, whatever its status; harmless when there is none."""
        ...

    async def purge_runs(self, older_than: str, limit: int, *, call_id: str | None = None) -> int:
        """Delete up to `limit` ended runs that ended before `older_than`, oldest first, and return how many."""
        ...

    async def create_log(self, log: NewLog) -> Log:
        """Store a log line and return it."""
        ...

    async def get_call(self, call_id: str) -> str | None:
        """Return what a call has come to, as `stores.calls` writes it; None when it was not applied or is forgotten."""
        ...

    async def get_call_ids(self) -> list[str]:
        """Return the ids of the calls whose outcomes are kept."""
        ...

    async def forget_calls(self, call_ids: Collection[str]) -> None:
        """Forget the outcomes of calls that nobody can repeat any more; harmless where there is none."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A store whose database others read too, who wait as long as one of its transactions is under way."""

    async def settle(self) -> None:
        """Return when no transaction is under way: while Python computes, none can end."""
        ...
