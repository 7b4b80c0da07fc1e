"""A store in an IndexedDB database, over a driver that runs one transaction a call (see `transactions`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypedDict, TypeVar

from durably_wasm import transitions
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
from durably_wasm.payloads import JsonValue, encode
from durably_wasm.stores import transactions
from durably_wasm.stores.ages import Ages
from durably_wasm.stores.calls import CANCELLED, CRASHED, DELETED, ENQUEUED, PURGED
from durably_wasm.stores.operations import Operation, delete_all_of, delete_call, delete_run, put_payload
from durably_wasm.stores.rows import (
    Record,
    log_from_record,
    step_from_record,
)
from durably_wasm.stores.transactions import Found, Transaction

T = TypeVar("T")


class Decision(TypedDict, total=False):
    """What follows from what was found: further reads, with writes among them, or the writes that end the transaction.

    What is found for a write among the reads means nothing.
    """

    reads: list[Operation]
    writes: list[Operation]


class ObjectDriver(Protocol):
    """An IndexedDB database. Every method raises `StoreError` when the database refuses."""

    async def open(self) -> None:
        """Open the database and upgrade its schema; harmless when it is open."""
        ...

    async def close(self) -> None:
        """Close the database; harmless when it is closed."""
        ...

    async def transact(self, reads: list[Operation], decide: Callable[[Found], Decision]) -> None:
        """Read, let `decide` answer, and so on until it returns writes; return when those are committed.

        All of it is one transaction, in the order in which it is asked; nothing is written when `decide` raises.
        """
        ...

    async def query(self, name: str, params: Mapping[str, JsonValue]) -> list[Record]:
        """Run one of the named reads of `web/shared/reads.js`."""
        ...


class IndexedDbStore:
    """Keeps runs in an IndexedDB database."""

    def __init__(self, driver: ObjectDriver) -> None:
        self._db = driver
        self._ids = Ulids()
        self._ages = Ages(self._ids)
        self._epoch: int | None = None

    async def migrate(self) -> None:
        """Open the database and bring its schema up to date.

        Raises:
            StoreError: It cannot be opened, or was written by a newer version; it is left as it is then.
        """
        await self._db.open()

    async def close(self) -> None:
        """Close the database."""
        await self._db.close()

    async def advance_epoch(self) -> int:
        """Count the epoch up, and refuse this object's writes once another does."""
        epoch = await self._run(transactions.advance_epoch())
        self._epoch = epoch
        return epoch

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
        if self._epoch is None:  # others may have stored runs meanwhile
            self._ages.newest = None
        enqueue = transactions.enqueue(new_runs, now, self._ages, in_order=in_order)
        return await self._transact(transactions.once(enqueue, call_id, ENQUEUED))

    async def get_run(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        found = await self._db.query("run", {"id": run_id})
        return transactions.run_with_payloads(found[0]) if found else None

    async def get_run_by_idempotency_key(self, job_name: str, key: str) -> Run | None:
        """Return the run of a job with a key, or None."""
        run_id = await self._run(transactions.id_by_idempotency_key(job_name, key))
        return None if run_id is None else await self.get_run(run_id)

    async def get_runs(self, filter: RunFilter) -> list[Run]:
        """Return the runs that match, newest first."""
        params: dict[str, JsonValue] = {
            "status": list(as_tuple(filter.status)),
            "jobName": list(as_tuple(filter.job_name)),
            "labels": dict(filter.labels or {}),
            "limit": filter.limit,
            "offset": filter.offset,
        }
        return [transactions.run_with_payloads(record) for record in await self._db.query("runs", params)]

    async def get_steps(self, run_id: str) -> list[Step]:
        """Return a run's stored steps by index."""
        return [step_from_record(record) for record in await self._db.query("steps", {"runId": run_id})]

    async def get_logs(self, run_id: str) -> list[Log]:
        """Return a run's stored log lines in the order they were written."""
        return [log_from_record(record) for record in await self._db.query("logs", {"runId": run_id})]

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
        return await self._transact(
            transactions.claim(
                worker_id,
                now,
                add_ms(now, lease_ms),
                jobs=jobs,
                exclude=exclude,
                epoch=epoch,
                max_claims_without_progress=max_claims_without_progress,
                keep_steps=keep_steps,
            )
        )

    async def renew_lease(self, run_id: str, generation: int, now: str, lease_ms: int) -> bool:
        """Extend the lease, also after it has expired."""
        expires_at = add_ms(now, lease_ms)
        return await self._change(run_id, lambda run: transitions.renew(run, generation, now, expires_at))

    async def release_lease(self, run_id: str, generation: int, now: str) -> bool:
        """Give the run back."""
        return await self._transact(transactions.release(run_id, generation, now))

    async def release_expired_leases(self, now: str) -> int:
        """Put runs whose lease has expired back to pending."""
        return await self._transact(transactions.release_expired(now))

    async def persist_step(
        self, run_id: str, generation: int, step: NewStep, now: str, lease_ms: int = 30_000
    ) -> Step | None:
        """Checkpoint a step and extend the lease."""
        return await self._transact(
            transactions.persist_step(run_id, generation, step, self._ids.next(now), now, add_ms(now, lease_ms))
        )

    async def complete_run(
        self, run_id: str, generation: int, output: JsonValue, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as completed."""
        payload = put_payload(run_id, "output", encode(output))
        return await self._change(
            run_id,
            lambda run: transitions.complete(run, generation, output, now),
            [payload, *_steps_unless(keep_steps, run_id)],
        )

    async def fail_run(
        self, run_id: str, generation: int, error: RunError, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as failed."""
        return await self._change(
            run_id,
            lambda run: transitions.fail(run, generation, error, now),
            _steps_unless(keep_steps, run_id),
        )

    async def cancel_run(self, run_id: str, now: str, *, keep_steps: bool = False, call_id: str | None = None) -> bool:
        """End the run as cancelled."""
        steps = _steps_unless(keep_steps, run_id)
        cancel = transactions.change(run_id, lambda run: transitions.cancel(run, now), steps)
        return await self._transact(transactions.once(cancel, call_id, CANCELLED))

    async def record_crash(
        self, run_ids: Collection[str], reason: str, now: str, *, keep_steps: bool = False, call_id: str | None = None
    ) -> list[str]:
        """Count a death of Python against runs."""
        steps = {run_id: _steps_unless(keep_steps, run_id) for run_id in run_ids}
        return await self._transact(transactions.once(transactions.crash(steps, reason, now), call_id, CRASHED))

    async def update_progress(self, run_id: str, generation: int, progress: Progress | None, now: str) -> bool:
        """Store how far the run says it is."""
        return await self._change(run_id, lambda run: transitions.update_progress(run, generation, progress, now))

    async def delete_steps(self, run_id: str) -> None:
        """Delete a run's steps."""
        await self._transact(transactions.write([delete_all_of("steps", run_id)]))

    async def delete_run(self, run_id: str, *, call_id: str | None = None) -> None:
        """Delete a run with all that belongs to it."""
        await self._transact(transactions.once(transactions.write(delete_run(run_id)), call_id, DELETED))

    async def purge_runs(self, older_than: str, limit: int, *, call_id: str | None = None) -> int:
        """Delete ended runs, oldest first."""
        return await self._transact(transactions.once(transactions.purge(older_than, limit), call_id, PURGED))

    async def create_log(self, log: NewLog) -> Log:
        """Store a log line."""
        return await self._transact(transactions.create_log(log, self._ids))

    async def get_call(self, call_id: str) -> str | None:
        """Return what a call has come to, or None."""
        return await self._run(transactions.outcome_of(call_id))

    async def get_call_ids(self) -> list[str]:
        """Return the ids of the calls whose outcomes are kept."""
        return await self._run(transactions.call_ids())

    async def forget_calls(self, call_ids: Collection[str]) -> None:
        """Forget the outcomes of calls."""
        await self._transact(transactions.write([delete_call(call_id) for call_id in call_ids]))

    async def _change(
        self, run_id: str, transition: Callable[[Run | None], Run | None], also: Sequence[Operation] = ()
    ) -> bool:
        return await self._transact(transactions.change(run_id, transition, also))

    async def _transact(self, transaction: Transaction[T]) -> T:
        """Run a transaction, unless this object's epoch is over."""
        return await self._run(transaction if self._epoch is None else transactions.fenced(transaction, self._epoch))

    async def _run(self, transaction: Transaction[T]) -> T:
        return await run_transaction(self._db, transaction)


async def run_transaction(driver: ObjectDriver, transaction: Transaction[T]) -> T:
    """Run a transaction on a database, and return its result once it is committed."""
    results: list[T] = []

    def decide(found: Found) -> Decision:
        try:
            return {"reads": transaction.send(found)}
        except StopIteration as end:
            writes, result = end.value
            results.append(result)
            return {"writes": writes}

    await driver.transact(next(transaction), decide)
    return results[0]


def _steps_unless(keep_steps: bool, run_id: str) -> list[Operation]:
    return [] if keep_steps else [delete_all_of("steps", run_id)]
