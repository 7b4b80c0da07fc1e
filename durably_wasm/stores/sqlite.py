"""A store in a SQLite database, over a driver (see `sql_driver`).

The statements are in `sql/`, where JavaScript reads them too. Drivers are synchronous, so nothing happens between
the statements of a transaction, and a checkpoint costs no turn of the event loop. What crosses to a driver costs as
much as a short statement, so those whose rows nobody wants wait for the next one that crosses, or for the commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from durably_wasm import transitions
from durably_wasm.errors import StoreError
from durably_wasm.ids import Ulids
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
    add_ms,
    as_tuple,
)
from durably_wasm.payloads import JsonValue, decode, encode
from durably_wasm.stores.ages import Ages
from durably_wasm.stores.calls import CANCELLED, CRASHED, DELETED, ENQUEUED, PURGED, Outcome
from durably_wasm.stores.claims import Claim, claim_next, fail
from durably_wasm.stores.importing import import_attached
from durably_wasm.stores.migrations import VERSION, steps_from
from durably_wasm.stores.rows import (
    SqlRow,
    crash_from_row,
    log_from_row,
    progress_key,
    progress_to_text,
    run_from_row,
    step_from_row,
)
from durably_wasm.stores.sql_driver import SqlDriver, SqlValue, StandardDriver
from durably_wasm.stores.statements import Statements

T = TypeVar("T")


class SqliteStore:
    """Keeps runs in a SQLite database: a file, or ``":memory:"``.

    Several processes may share a file; each operation is one transaction.
    """

    def __init__(self, path: str | os.PathLike[str] | SqlDriver) -> None:
        self._db = StandardDriver(path) if isinstance(path, str | os.PathLike) else path
        self._statements = Statements(self._db)
        self._transaction = self._statements.transaction
        self._run, self._later = self._statements.run, self._statements.later
        self._ids = Ulids()
        self._ages = Ages(self._ids)

    async def migrate(self) -> None:
        """Open the database and bring its schema up to date.

        Raises:
            StoreError: It is locked, read-only, corrupt, no SQLite database, or was written by a newer version; the
                message says which, and it is left as it is.
        """
        await self._db.open()
        try:
            with self._transaction(fenced=False):  # which finds out whether it can be written at all
                [[version]] = self._statements.execute("PRAGMA user_version")
                for step in steps_from(int(version or 0)):
                    self._db.script(step)
                self._statements.execute(f"PRAGMA user_version = {VERSION}")
                self._run("epoch")  # which finds out whether it is one of ours
            self._db.configure()
        except StoreError:
            self._db.close()
            raise

    async def close(self) -> None:
        """Close the database."""
        self._db.close()

    async def advance_epoch(self) -> int:
        """Count the epoch up, and refuse this object's writes once another does."""
        with self._transaction(fenced=False):
            [[epoch]] = self._run("advance_epoch")
        self._statements.epoch = int(epoch or 0)
        return self._statements.epoch

    async def enqueue(
        self, new_run: NewRun, now: str, *, call_id: str | None = None, in_order: bool = False
    ) -> EnqueueResult:
        """Store a pending run, or return the one that its keys lead to."""
        [result] = await self.enqueue_many([new_run], now, call_id=call_id, in_order=in_order)
        return result

    async def enqueue_many(
        self, new_runs: Sequence[NewRun], now: str, *, call_id: str | None = None, in_order: bool = False
    ) -> list[EnqueueResult]:
        """Store several runs, or none."""
        with self._transaction():
            return self._once(call_id, ENQUEUED, lambda: self._enqueue_many(new_runs, now, in_order))

    async def get_run(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        return self._get_run(run_id)

    async def get_run_by_idempotency_key(self, job_name: str, key: str) -> Run | None:
        """Return the run of a job with a key, or None."""
        return self._first("run_by_idempotency_key", job_name=job_name, key=key)

    async def get_runs(self, filter: RunFilter) -> list[Run]:
        """Return the runs that match, newest first."""
        rows = self._run(
            "runs",
            statuses=_json_list(as_tuple(filter.status)),
            jobs=_json_list(as_tuple(filter.job_name)),
            labels=encode([encode({key: value})[1:-1] for key, value in (filter.labels or {}).items()]),
            limit=-1 if filter.limit is None else filter.limit,
            offset=filter.offset,
        )
        return [run_from_row(row) for row in rows]

    async def get_steps(self, run_id: str) -> list[Step]:
        """Return a run's stored steps by index."""
        return [step_from_row(row) for row in self._run("steps", run_id=run_id)]

    async def get_logs(self, run_id: str) -> list[Log]:
        """Return a run's stored log lines in the order they were written."""
        return [log_from_row(row) for row in self._run("logs", run_id=run_id)]

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
        """Lease the oldest run that is due."""
        claim = Claim(worker_id, now, add_ms(now, lease_ms), max_claims_without_progress, keep_steps)
        with self._transaction():
            claimed = claim_next(self._statements, claim, jobs=jobs, exclude=exclude, epoch=epoch)
        return None if claimed is None else run_from_row(claimed)

    async def renew_lease(self, run_id: str, generation: int, now: str, lease_ms: int) -> bool:
        """Extend the lease, also after it has expired."""
        with self._transaction():
            return self._renew(run_id, generation, now, add_ms(now, lease_ms))

    async def release_lease(self, run_id: str, generation: int, now: str) -> bool:
        """Give the run back."""
        with self._transaction():
            run = self._get_run(run_id)
            if run is not None and self._pending_with_key(run) is not None:
                return self._renew(run_id, generation, now, expires_at=now)
            return bool(self._run("release", id=run_id, generation=generation, now=now))

    async def release_expired_leases(self, now: str) -> int:
        """Put runs whose lease has expired back to pending."""
        with self._transaction():
            return len(self._run("expire_all", now=now))

    async def persist_step(
        self, run_id: str, generation: int, step: NewStep, now: str, lease_ms: int = 30_000
    ) -> Step | None:
        """Checkpoint a step and extend the lease."""
        output = encode(step.output)
        with self._transaction():
            written = self._run(
                "checkpoint_step",
                id=self._ids.next(now),
                run_id=run_id,
                name=step.name,
                index=step.index,
                status=step.status,
                output=output,
                error=step.error,
                started_at=step.started_at,
                now=now,
                generation=generation,
            )
            if not written:
                held = self._run("holds_lease", run_id=run_id, generation=generation)
                stored = self._run("step", run_id=run_id, name=step.name)
                return step_from_row(stored[0]) if held and stored else None
            self._later(
                "checkpoint_run",
                run_id=run_id,
                index=step.index,
                status=step.status,
                expires_at=add_ms(now, lease_ms),
                now=now,
            )
        id, name, error = written[0]  # the rest is as it was sent
        return Step(
            id=id,
            run_id=run_id,
            name=name,
            index=step.index,
            status=step.status,
            output=decode(output),
            error=error,
            started_at=step.started_at,
            completed_at=max(now, step.started_at),
        )

    async def complete_run(
        self, run_id: str, generation: int, output: JsonValue, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as completed."""
        text = encode(output)
        with self._transaction():
            if not self._run("complete", id=run_id, generation=generation, now=now):
                return False
            self._later("insert_payload", run_id=run_id, kind="output", value=text)
            return self._ended(run_id, keep_steps)

    async def fail_run(
        self, run_id: str, generation: int, error: RunError, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as failed."""
        with self._transaction():
            return self._fail(run_id, generation, error, now, keep_steps)

    async def cancel_run(self, run_id: str, now: str, *, keep_steps: bool = False, call_id: str | None = None) -> bool:
        """End the run as cancelled."""
        with self._transaction():
            return self._once(call_id, CANCELLED, lambda: self._cancel(run_id, now, keep_steps))

    async def record_crash(
        self, run_ids: Collection[str], reason: str, now: str, *, keep_steps: bool = False, call_id: str | None = None
    ) -> list[str]:
        """Count a death of Python against runs."""
        with self._transaction():
            return self._once(
                call_id, CRASHED, lambda: [run_id for run_id in run_ids if self._crash(run_id, reason, now, keep_steps)]
            )

    async def update_progress(self, run_id: str, generation: int, progress: Progress | None, now: str) -> bool:
        """Store how far the run says it is."""
        text = progress_to_text(progress)
        with self._transaction():
            return bool(self._run("update_progress", id=run_id, generation=generation, progress=text, now=now))

    async def delete_steps(self, run_id: str) -> None:
        """Delete a run's steps."""
        with self._transaction():
            self._later("delete_steps", run_id=run_id)

    async def delete_run(self, run_id: str, *, call_id: str | None = None) -> None:
        """Delete a run with all that belongs to it."""
        with self._transaction():
            self._once(call_id, DELETED, lambda: self._delete(run_id))

    async def purge_runs(self, older_than: str, limit: int, *, call_id: str | None = None) -> int:
        """Delete ended runs, oldest first."""
        with self._transaction():
            return self._once(call_id, PURGED, lambda: self._purge(older_than, limit))

    async def create_log(self, log: NewLog) -> Log:
        """Store a log line."""
        data = encode(log.data)
        with self._transaction():
            last = _age(self._run("last_log", run_id=log.run_id))
            created_at, log_id = transitions.follow(last, self._ids, log.created_at)
            line = {**asdict(replace(log, data=None)), "id": log_id, "data": data, "created_at": created_at}
            [stored] = self._run("insert_log", **line)
        return log_from_row(stored)

    async def get_call(self, call_id: str) -> str | None:
        """Return what a call has come to, or None."""
        known = self._run("call", id=call_id)
        return str(known[0][0]) if known else None

    async def get_call_ids(self) -> list[str]:
        """Return the ids of the calls whose outcomes are kept."""
        return [str(call_id) for [call_id] in self._run("call_ids")]

    async def forget_calls(self, call_ids: Collection[str]) -> None:
        """Forget the outcomes of calls."""
        with self._transaction():
            self._later("forget_calls", call_ids=encode(list(call_ids)))

    async def import_attached(self) -> None:
        """Put the runs of the database that is attached as `imported` in the place of all that are here, and detach it.

        Raises:
            ConflictError: A run is leased.
            StoreError: The attached database is not what this version writes; the message names table, row and column.
        """
        import_attached(self._statements, self._db)
        self._ages.newest = None

    def _once(self, call_id: str | None, outcome: Outcome[T], apply: Callable[[], T]) -> T:
        if call_id is None:
            return apply()
        if known := self._run("call", id=call_id):
            return outcome.read(str(known[0][0]))
        result = apply()
        self._later("insert_call", id=call_id, outcome=outcome.write(result))
        return result

    def _enqueue_many(self, new_runs: Sequence[NewRun], now: str, in_order: bool) -> list[EnqueueResult]:
        if in_order and (self._ages.newest is None or self._statements.epoch is None):  # others may store runs too
            self._ages.newest = _age(self._run("newest_run"))
        return [self._enqueue(new, *self._ages.next(now, in_order=in_order)) for new in new_runs]

    def _enqueue(self, new: NewRun, now: str, run_id: str) -> EnqueueResult:
        same_key = pending = None
        if new.idempotency_key is not None:
            same_key = self._first("run_by_idempotency_key", job_name=new.job_name, key=new.idempotency_key)
        if new.concurrency_key is not None:
            pending = self._first("pending_run_by_key", job_name=new.job_name, key=new.concurrency_key)
        result = transitions.enqueue(new, run_id, now, same_key=same_key, pending=pending)
        if result.disposition != "created":
            return result
        run, input, labels = result.run, encode(result.run.input), encode(dict(result.run.labels))
        self._later(
            "insert_run",
            id=run.id,
            job_name=run.job_name,
            idempotency_key=run.idempotency_key,
            concurrency_key=run.concurrency_key,
            labels=labels,
            now=now,
        )
        self._later("insert_payload", run_id=run.id, kind="input", value=input)
        own = replace(run, input=decode(input), labels=dict(run.labels))  # nothing that the caller holds
        return replace(result, run=own)

    def _get_run(self, run_id: str) -> Run | None:
        rows = self._run("run", id=run_id)
        return run_from_row(rows[0]) if rows else None

    def _first(self, statement: str, /, **values: SqlValue) -> Run | None:
        rows = self._run(statement, **values)
        return self._get_run(str(rows[0][0])) if rows else None

    def _pending_with_key(self, run: Run) -> Run | None:
        return self._first("pending_run_by_key", job_name=run.job_name, key=run.concurrency_key)

    def _renew(self, run_id: str, generation: int, now: str, expires_at: str) -> bool:
        return bool(self._run("renew", id=run_id, generation=generation, now=now, expires_at=expires_at))

    def _ended(self, run_id: str, keep_steps: bool) -> bool:
        if not keep_steps:
            self._later("delete_steps", run_id=run_id)
        return True

    def _fail(self, run_id: str, generation: int, error: RunError, now: str, keep_steps: bool) -> bool:
        return fail(self._statements, run_id, generation, error, now) and self._ended(run_id, keep_steps)

    def _crash(self, run_id: str, reason: str, now: str, keep_steps: bool) -> bool:
        stored = self._run("crash", run_id=run_id)
        counted = transitions.crash(self._get_run(run_id), crash_from_row(stored[0]) if stored else None, reason, now)
        if counted is None:
            return False
        run, crash = counted
        self._later("put_crash", **asdict(crash))
        error = RunError(run.error or "", run.error_type)
        return run.status == "failed" and self._fail(run_id, run.lease_generation, error, now, keep_steps)

    def _cancel(self, run_id: str, now: str, keep_steps: bool) -> bool:
        return bool(self._run("cancel", id=run_id, now=now)) and self._ended(run_id, keep_steps)

    def _purge(self, older_than: str, limit: int) -> int:
        ended = self._run("oldest_ended", older_than=older_than, limit=limit)
        for [run_id] in ended:
            self._delete(str(run_id))
        return len(ended)

    def _delete(self, run_id: str) -> None:
        for name in ("delete_steps", "delete_logs", "delete_payloads", "delete_crash", "delete_run"):
            self._later(name, run_id=run_id)
        self._later("delete_progress", key=progress_key(run_id))


def _age(rows: list[SqlRow]) -> tuple[str, str] | None:
    """Return time and id of the one row that was read, or None."""
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


def _json_list(values: tuple[str, ...]) -> str | None:
    return encode(list(values)) if values else None
