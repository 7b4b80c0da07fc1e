"""A store in plain memory: the contract in its shortest form."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from durably_wasm import transitions
from durably_wasm.ids import Ulids
from durably_wasm.models import (
    TERMINAL,
    Crash,
    EnqueueResult,
    LastProgress,
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

T = TypeVar("T")


class MemoryStore:
    """Keeps everything in this object and nothing beyond it; for tests, and for work that need not survive."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._steps: defaultdict[str, dict[str, Step]] = defaultdict(dict)
        self._logs: defaultdict[str, list[Log]] = defaultdict(list)
        self._leased: set[str] = set()
        self._pending: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)  # ages by job
        self._by_idempotency: dict[tuple[str, str | None], str] = {}
        self._by_pending_key: dict[tuple[str, str | None], str] = {}
        self._crashes: dict[str, Crash] = {}
        self._progress: dict[str, LastProgress] = {}
        self._calls: dict[str, str] = {}
        self._ids = Ulids()
        self._ages = Ages(self._ids)
        self._epoch = 0

    async def migrate(self) -> None:
        """Do nothing: there is no schema."""

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def advance_epoch(self) -> int:
        """Count the epoch up. Nobody else can open this object's memory, so there is nothing to fence off."""
        self._epoch += 1
        return self._epoch

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
        return self._once(call_id, ENQUEUED, lambda: self._enqueue_many(new_runs, now, in_order))

    def _enqueue_many(self, new_runs: Sequence[NewRun], now: str, in_order: bool) -> list[EnqueueResult]:
        results: list[EnqueueResult] = []
        try:
            for new in new_runs:
                results += [self._enqueue(new, *self._ages.next(now, in_order=in_order))]
        except BaseException:
            for result in results:
                if result.disposition == "created":
                    self._remove(result.run)
            raise
        return results

    async def get_run(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        run = self._runs.get(run_id)
        return run and _own(run)

    async def get_run_by_idempotency_key(self, job_name: str, key: str) -> Run | None:
        """Return the run of a job with a key, or None."""
        return await self.get_run(self._by_idempotency.get((job_name, key), ""))

    async def get_runs(self, filter: RunFilter) -> list[Run]:
        """Return the runs that match, newest first."""
        statuses, jobs = as_tuple(filter.status), as_tuple(filter.job_name)
        wanted = (filter.labels or {}).items()
        found = [
            run
            for run in self._runs.values()
            if (not statuses or run.status in statuses)
            and (not jobs or run.job_name in jobs)
            and wanted <= run.labels.items()
        ]
        found.sort(key=transitions.age, reverse=True)
        end = None if filter.limit is None else filter.offset + filter.limit
        return [_own(run) for run in found[filter.offset : end]]

    async def get_steps(self, run_id: str) -> list[Step]:
        """Return a run's stored steps by index."""
        steps = sorted(self._steps.get(run_id, {}).values(), key=lambda step: step.index)
        return [replace(step, output=_copy(step.output)) for step in steps]

    async def get_logs(self, run_id: str) -> list[Log]:
        """Return a run's stored log lines in the order they were written."""
        return [replace(log, data=_copy(log.data)) for log in self._logs.get(run_id, [])]

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
        queues = [queue for job, queue in self._pending.items() if jobs is None or job in jobs]
        run = transitions.next_claim(
            [self._runs[run_id] for run_id in self._leased],
            (self._runs[run_id] for _, run_id in heapq.merge(*queues)),
            now,
            jobs=jobs,
            exclude=exclude,
            epoch=epoch,
        )
        if run is None:
            return None
        claimed = transitions.claim(run, worker_id, now, add_ms(now, lease_ms))
        self._put(claimed)
        if max_claims_without_progress is not None:
            self._fail_without_progress(claimed, max_claims_without_progress, now, keep_steps)
        return _own(self._runs[run.id])

    def _fail_without_progress(self, run: Run, most: int, now: str, keep_steps: bool) -> None:
        generation, known = run.lease_generation, self._progress.get(run.id)
        last = transitions.last_progress(run.id, generation, run.completed_step_count, known)
        self._progress[run.id] = last
        if error := transitions.no_progress(generation, last, most):
            self._end(transitions.fail(run, generation, error, now), keep_steps)

    async def renew_lease(self, run_id: str, generation: int, now: str, lease_ms: int) -> bool:
        """Extend the lease, also after it has expired."""
        run = self._runs.get(run_id)
        return self._put(transitions.renew(run, generation, now, add_ms(now, lease_ms)))

    async def release_lease(self, run_id: str, generation: int, now: str) -> bool:
        """Give the run back."""
        run = self._runs.get(run_id)
        pending = run is not None and self._key_is_pending(run)
        return self._put(transitions.release(run, generation, now, key_is_pending=pending))

    async def release_expired_leases(self, now: str) -> int:
        """Put runs whose lease has expired back to pending."""
        leased = sorted((self._runs[run_id] for run_id in self._leased), key=transitions.age)
        return sum(self._put(transitions.expire(run, now, key_is_pending=self._key_is_pending(run))) for run in leased)

    async def persist_step(
        self, run_id: str, generation: int, step: NewStep, now: str, lease_ms: int = 30_000
    ) -> Step | None:
        """Checkpoint a step and extend the lease."""
        run, stored = self._runs.get(run_id), self._steps.get(run_id, {}).get(step.name)
        new = replace(step, output=_copy(step.output))
        outcome = transitions.persist_step(
            run, stored, generation, new, self._ids.next(now), now, add_ms(now, lease_ms)
        )
        if outcome is None:
            return None
        changed, persisted = outcome
        self._put(changed)
        self._steps[run_id][step.name] = persisted
        return replace(persisted, output=_copy(persisted.output))

    async def complete_run(
        self, run_id: str, generation: int, output: JsonValue, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as completed."""
        run = transitions.complete(self._runs.get(run_id), generation, _copy(output), now)
        return self._end(run, keep_steps)

    async def fail_run(
        self, run_id: str, generation: int, error: RunError, now: str, *, keep_steps: bool = False
    ) -> bool:
        """End the run as failed."""
        return self._end(transitions.fail(self._runs.get(run_id), generation, error, now), keep_steps)

    async def cancel_run(self, run_id: str, now: str, *, keep_steps: bool = False, call_id: str | None = None) -> bool:
        """End the run as cancelled."""
        return self._once(
            call_id, CANCELLED, lambda: self._end(transitions.cancel(self._runs.get(run_id), now), keep_steps)
        )

    async def record_crash(
        self, run_ids: Collection[str], reason: str, now: str, *, keep_steps: bool = False, call_id: str | None = None
    ) -> list[str]:
        """Count a death of Python against runs."""
        return self._once(
            call_id, CRASHED, lambda: [run_id for run_id in run_ids if self._crash(run_id, reason, now, keep_steps)]
        )

    def _crash(self, run_id: str, reason: str, now: str, keep_steps: bool) -> bool:
        counted = transitions.crash(self._runs.get(run_id), self._crashes.get(run_id), reason, now)
        if counted is None:
            return False
        run, self._crashes[run_id] = counted
        return run.status == "failed" and self._end(run, keep_steps)

    async def update_progress(self, run_id: str, generation: int, progress: Progress | None, now: str) -> bool:
        """Store how far the run says it is."""
        return self._put(transitions.update_progress(self._runs.get(run_id), generation, progress, now))

    async def delete_steps(self, run_id: str) -> None:
        """Delete a run's steps."""
        self._steps.pop(run_id, None)

    async def delete_run(self, run_id: str, *, call_id: str | None = None) -> None:
        """Delete a run with all that belongs to it."""
        self._once(call_id, DELETED, lambda: self._delete(run_id))

    async def purge_runs(self, older_than: str, limit: int, *, call_id: str | None = None) -> int:
        """Delete ended runs, oldest first."""
        return self._once(call_id, PURGED, lambda: self._purge(older_than, limit))

    def _purge(self, older_than: str, limit: int) -> int:
        ended = [run for run in self._runs.values() if run.status in TERMINAL and (run.completed_at or "") < older_than]
        oldest = heapq.nsmallest(limit, ended, key=lambda run: (run.completed_at or "", run.id))
        for run in oldest:
            self._remove(run)
        return len(oldest)

    async def create_log(self, log: NewLog) -> Log:
        """Store a log line."""
        lines = self._logs[log.run_id]
        last = (lines[-1].created_at, lines[-1].id) if lines else None
        created_at, log_id = transitions.follow(last, self._ids, log.created_at)
        stored = Log(
            id=log_id,
            run_id=log.run_id,
            step_name=log.step_name,
            level=log.level,
            message=log.message,
            data=_copy(log.data),
            created_at=created_at,
        )
        lines.append(stored)
        return replace(stored, data=_copy(stored.data))

    async def get_call(self, call_id: str) -> str | None:
        """Return what a call has come to, or None."""
        return self._calls.get(call_id)

    async def get_call_ids(self) -> list[str]:
        """Return the ids of the calls whose outcomes are kept."""
        return list(self._calls)

    async def forget_calls(self, call_ids: Collection[str]) -> None:
        """Forget the outcomes of calls."""
        for call_id in call_ids:
            self._calls.pop(call_id, None)

    def _once(self, call_id: str | None, outcome: Outcome[T], apply: Callable[[], T]) -> T:
        if call_id is not None and call_id in self._calls:
            return outcome.read(self._calls[call_id])
        result = apply()
        if call_id is not None:
            self._calls[call_id] = outcome.write(result)
        return result

    def _enqueue(self, new: NewRun, now: str, run_id: str) -> EnqueueResult:
        same_key = self._by_idempotency.get((new.job_name, new.idempotency_key))
        pending = self._by_pending_key.get((new.job_name, new.concurrency_key))
        result = transitions.enqueue(
            replace(new, input=_copy(new.input)),
            run_id,
            now,
            same_key=self._runs.get(same_key or ""),
            pending=self._runs.get(pending or ""),
        )
        if result.disposition == "created":
            self._put(result.run)
        return replace(result, run=_own(result.run))

    def _key_is_pending(self, run: Run) -> bool:
        return (run.job_name, run.concurrency_key) in self._by_pending_key

    def _end(self, run: Run | None, keep_steps: bool) -> bool:
        if run is not None and not keep_steps:
            self._steps.pop(run.id, None)
        return self._put(run)

    def _put(self, run: Run | None) -> bool:
        if run is None:
            return False
        self._unindex(run.id)
        self._runs[run.id] = run
        if run.idempotency_key is not None:
            self._by_idempotency[run.job_name, run.idempotency_key] = run.id
        if run.status == "leased":
            self._leased.add(run.id)
        elif run.status == "pending":
            insort(self._pending[run.job_name], transitions.age(run))
            if run.concurrency_key is not None:
                self._by_pending_key[run.job_name, run.concurrency_key] = run.id
        return True

    def _unindex(self, run_id: str) -> None:
        run = self._runs.get(run_id)
        if run is None:
            return
        self._leased.discard(run_id)
        if run.status == "pending":
            queue = self._pending[run.job_name]
            del queue[bisect_left(queue, transitions.age(run))]
            self._by_pending_key.pop((run.job_name, run.concurrency_key), None)

    def _delete(self, run_id: str) -> None:
        if run := self._runs.get(run_id):
            self._remove(run)

    def _remove(self, run: Run) -> None:
        self._unindex(run.id)
        self._runs.pop(run.id, None)
        self._steps.pop(run.id, None)
        self._logs.pop(run.id, None)
        self._crashes.pop(run.id, None)
        self._progress.pop(run.id, None)
        self._by_idempotency.pop((run.job_name, run.idempotency_key), None)


def _copy(value: JsonValue) -> JsonValue:
    return decode(encode(value))


def _own(run: Run) -> Run:
    return replace(run, input=_copy(run.input), output=_copy(run.output), labels=dict(run.labels))
