"""What may happen to a run, as pure functions.

Rule 1: every change of a run's status or lease is decided here, and nowhere else (`stores/sql` says the same in SQL).
Rule 2: this file does no I/O. It takes rows and the time, and returns rows.
Rule 3: what a lease-holder writes is refused unless the run is leased under the generation it was claimed with.

Rule 4: where the wall clock was set back, a run does not end before it began, nor begin before it was triggered.

A function returns None when the change is not allowed, so the caller writes nothing.
The statuses: pending → leased → completed | failed | cancelled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from durably_wasm.errors import ConflictError
from durably_wasm.ids import Ulids
from durably_wasm.models import (
    TERMINAL,
    Crash,
    EnqueueResult,
    LastProgress,
    NewRun,
    NewStep,
    Progress,
    Run,
    RunError,
    Step,
)
from durably_wasm.payloads import JsonValue

CRASHES = 3  # that end a run, without a checkpoint between them

_LOCK_OWNER = re.compile(r"lock-(0|[1-9][0-9]*)-")


def enqueue(new: NewRun, run_id: str, now: str, *, same_key: Run | None, pending: Run | None) -> EnqueueResult:
    """Decide what a trigger leads to.

    `same_key` is the run of this job with the same idempotency key, whatever its status; `pending` the pending run of
    this job with the same concurrency key.

    Raises:
        ConflictError: A pending run holds the concurrency key, and the trigger does not coalesce.
    """
    if same_key is not None:
        return EnqueueResult(run=same_key, disposition="idempotent")
    if pending is None:
        return EnqueueResult(run=_pending(new, run_id, now), disposition="created")
    if new.coalesce == "skip":
        return EnqueueResult(run=pending, disposition="coalesced")
    raise ConflictError(
        f"Run {pending.id} of job {new.job_name!r} is already pending with concurrency key {new.concurrency_key!r}"
    )


def follow(last: tuple[str, str] | None, ids: Ulids, now: str) -> tuple[str, str]:
    """Return time and id of a row that is written now, after the last one of its kind, whatever the wall clock says.

    `last` is that one's time and id.
    """
    if last is None:
        return now, ids.next(now)
    created_at, id = last
    return max(now, created_at), ids.next(max(now, created_at), after=id)


def next_claim(
    leased: Sequence[Run],
    pending: Iterable[Run],
    now: str,
    *,
    jobs: Collection[str] | None,
    exclude: Collection[str],
    epoch: int | None,
) -> Run | None:
    """Choose the run to claim: the oldest that is due and whose concurrency key no other leased run holds.

    `leased` are all leased runs, of any job: an expired lease may be taken over, but it does not free its key.
    `pending` are the pending runs of `jobs` (None: of all), oldest first; it is read as far as needed.
    """
    held = held_keys(leased)
    over = [
        run
        for run in leased
        if (jobs is None or run.job_name in jobs) and run.id not in exclude and is_over(run, now, epoch)
    ]
    free = next((run for run in pending if is_free(run, held, exclude)), None)
    return min([*over, free] if free else over, key=age, default=None)


def held_keys(leased: Iterable[Run]) -> set[str]:
    """Return the concurrency keys that leased runs hold."""
    return {run.concurrency_key for run in leased if run.concurrency_key is not None}


def is_free(pending: Run, held: Collection[str], exclude: Collection[str]) -> bool:
    """Say whether a pending run may be claimed: nobody holds its key, and this worker is not executing it."""
    return pending.concurrency_key not in held and pending.id not in exclude


def age(run: Run) -> tuple[str, str]:
    """Return the key that sorts runs from the oldest to the newest."""
    return run.created_at, run.id


def is_over(run: Run, now: str, epoch: int | None) -> bool:
    """Say whether a leased run may be taken over: its lease expired, or its owner is known to be dead."""
    return (run.lease_expires_at or "") <= now or is_void(run.lease_owner, epoch)


def is_void(owner: str | None, epoch: int | None) -> bool:
    """Say whether a lease's owner is dead: an engine that held the database's lock in an earlier epoch.

    The lock has one holder at a time, so whoever holds it now, in `epoch`, knows that all before it have ended.
    Engines outside the lock (`epoch` None, or another form of owner) are known by expiry only.
    """
    match = _LOCK_OWNER.match(owner or "")
    return match is not None and epoch is not None and int(match[1]) < epoch


def claim(run: Run, worker_id: str, now: str, expires_at: str) -> Run:
    """Lease the run to a worker under a new generation, the fencing token of all its writes."""
    return replace(
        run,
        status="leased",
        lease_owner=worker_id,
        lease_expires_at=expires_at,
        lease_generation=run.lease_generation + 1,
        started_at=run.started_at or max(now, run.created_at),
        updated_at=now,
    )


def last_progress(run_id: str, generation: int, completed_step_count: int, known: LastProgress | None) -> LastProgress:
    """Return the last progress of a run that has just been claimed under a generation.

    `known` is what the claim before found; None: nothing, as at the first. A run that has completed steps since then
    did so under the claim before this one. A failed attempt at a step is no progress.
    """
    known = known or LastProgress(run_id=run_id, generation=0, completed_step_count=0)
    if known.completed_step_count == completed_step_count:
        return known
    return LastProgress(run_id=run_id, generation=generation - 1, completed_step_count=completed_step_count)


def no_progress(generation: int, last: LastProgress, most: int) -> RunError | None:
    """Return why a run that has just been claimed under a generation fails; None when it may be executed.

    It fails when it was claimed `most` times since its last progress, whatever ended those claims: a death, an expiry,
    or an engine that gave the lease back. Nothing else ends a run that takes its engine down each time.
    """
    if generation - 1 - last.generation < most:
        return None
    times = "once" if most == 1 else f"{most} times"
    return RunError(f"no progress: it was claimed {times} and completed no step in between", "NoProgress")


def renew(run: Run | None, generation: int, now: str, expires_at: str) -> Run | None:
    """Extend the lease, also one that has expired, as long as nobody claimed the run since."""
    if run is None or not _holds(run, generation):
        return None
    return replace(run, lease_expires_at=expires_at, updated_at=now)


def release(run: Run | None, generation: int, now: str, *, key_is_pending: bool) -> Run | None:
    """Give the run back for anyone to claim: pending again or, if its key is pending too, with its lease over."""
    if run is None or not _holds(run, generation):
        return None
    return replace(run, lease_expires_at=now, updated_at=now) if key_is_pending else _unleased(run, now)


def expire(run: Run, now: str, *, key_is_pending: bool) -> Run | None:
    """Put a run whose lease has expired back to pending, unless a pending run already has its (job, key).

    That one stays leased and claimable: an interrupted run runs before the one that was triggered after it.
    """
    if run.status != "leased" or (run.lease_expires_at or "") > now or key_is_pending:
        return None
    return _unleased(run, now)


def persist_step(
    run: Run | None,
    stored: Step | None,
    generation: int,
    new: NewStep,
    step_id: str,
    now: str,
    expires_at: str,
) -> tuple[Run, Step] | None:
    """Checkpoint a step and extend the lease. A completed step never changes: its repetition returns it as it is."""
    if run is None or not _holds(run, generation):
        return None
    if stored is not None and stored.status == "completed":
        return run, stored
    step = Step(
        id=stored.id if stored else step_id,
        run_id=run.id,
        name=new.name,
        index=new.index,
        status=new.status,
        output=new.output,
        error=new.error,
        started_at=new.started_at,
        completed_at=max(now, new.started_at),
    )
    is_completed = new.status == "completed"
    changed = replace(
        run,
        current_step_index=max(run.current_step_index, new.index + 1) if is_completed else run.current_step_index,
        completed_step_count=run.completed_step_count + is_completed,
        lease_expires_at=expires_at,
        updated_at=now,
    )
    return changed, step


def update_progress(run: Run | None, generation: int, progress: Progress | None, now: str) -> Run | None:
    """Store how far the run says it is."""
    if run is None or not _holds(run, generation):
        return None
    return replace(run, progress=progress, updated_at=now)


def complete(run: Run | None, generation: int, output: JsonValue, now: str) -> Run | None:
    """End the run with its output. An expired lease does not matter as long as nobody claimed the run."""
    if run is None or not _holds(run, generation):
        return None
    return replace(_ended(run, now), status="completed", output=output)


def fail(run: Run | None, generation: int, error: RunError, now: str) -> Run | None:
    """End the run with an error."""
    if run is None or not _holds(run, generation):
        return None
    return replace(
        _ended(run, now),
        status="failed",
        error=error.message,
        error_type=error.type,
        error_traceback=error.traceback,
    )


def crash(run: Run | None, earlier: Crash | None, reason: str, now: str) -> tuple[Run, Crash] | None:
    """Count a death of Python against a run that was leased then; at the last that is borne the run fails.

    `earlier` is the record of the deaths before. It counts no more when a step has been completed since: a run that
    gets on is not in a loop, however often it is interrupted.
    """
    if run is None or run.status != "leased":
        return None
    steps = run.completed_step_count
    before = earlier.count if earlier is not None and earlier.completed_step_count == steps else 0
    crash = Crash(run_id=run.id, count=before + 1, reason=reason, completed_step_count=steps)
    if crash.count < CRASHES:
        return run, crash
    return replace(_ended(run, now), status="failed", error=f"crash loop: {reason}", error_type="CrashLoop"), crash


def cancel(run: Run | None, now: str) -> Run | None:
    """End a pending or leased run, whoever holds it: the holder's next write is refused."""
    if run is None or run.status in TERMINAL:
        return None
    return replace(_ended(run, now), status="cancelled")


def _holds(run: Run, generation: int) -> bool:
    return run.status == "leased" and run.lease_generation == generation


def _pending(new: NewRun, run_id: str, now: str) -> Run:
    return Run(
        id=run_id,
        job_name=new.job_name,
        input=new.input,
        status="pending",
        idempotency_key=new.idempotency_key,
        concurrency_key=new.concurrency_key,
        labels=dict(new.labels),
        created_at=now,
        updated_at=now,
    )


def _unleased(run: Run, now: str) -> Run:
    return replace(run, status="pending", lease_owner=None, lease_expires_at=None, updated_at=now)


def _ended(run: Run, now: str) -> Run:
    completed_at = max(now, run.started_at or run.created_at)
    return replace(run, lease_owner=None, lease_expires_at=None, completed_at=completed_at, updated_at=now)
