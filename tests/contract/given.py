"""Runs at each point of their life, for a clause to start from.

Each function goes one step further than the one before it. Times are fixed: `after` counts from `NOW`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from durably_wasm.models import (
    Coalesce,
    Log,
    LogLevel,
    NewLog,
    NewRun,
    NewStep,
    Progress,
    Run,
    RunError,
    RunFilter,
    Step,
    StepStatus,
    add_ms,
)
from durably_wasm.payloads import JsonValue, encode
from durably_wasm.stores import Store

E = TypeVar("E", bound=BaseException)

NOW = "2026-01-01T00:00:00.000Z"
LEASE_MS = 30_000
ALL = RunFilter()
CROWD = range(20)


def after(ms: int) -> str:
    """Return the time `ms` milliseconds after `NOW`, or before it."""
    return add_ms(NOW, ms)


EXPIRY = after(LEASE_MS)  # of a lease taken at NOW
LATER = after(60_000)


def new_run(
    job_name: str = "import",
    input: JsonValue = None,
    *,
    idempotency_key: str | None = None,
    concurrency_key: str | None = None,
    coalesce: Coalesce | None = None,
    labels: Mapping[str, str] | None = None,
) -> NewRun:
    return NewRun(job_name, input, idempotency_key, concurrency_key, coalesce, labels or {})


def new_step(
    name: str = "parse",
    index: int = 0,
    status: StepStatus = "completed",
    *,
    output: JsonValue = None,
    error: str | None = None,
    started_at: str = NOW,
) -> NewStep:
    return NewStep(name, index, status, output=output, error=error, started_at=started_at)


async def enqueued(store: Store, *, now: str = NOW, **asked: Any) -> Run:
    """A pending run, as `new_run` asks for it."""
    result = await store.enqueue(new_run(**asked), now)
    assert result.disposition == "created", f"{result.disposition} where a new run was wanted"
    return result.run


async def leased(
    store: Store, run: Run, *, now: str = NOW, worker_id: str = "worker-1", lease_ms: int = LEASE_MS
) -> Run:
    """That run, claimed, whatever else is due."""
    others = [other.id for other in await store.get_runs(ALL) if other.id != run.id]
    claimed = await store.claim_next(worker_id, now, lease_ms, exclude=others)
    assert claimed is not None and claimed.id == run.id, f"{claimed} was claimed where {run.id} was due"
    return claimed


async def claimed(store: Store, *, now: str = NOW, worker_id: str = "worker-1", **asked: Any) -> Run:
    """A leased run, as `new_run` asks for it."""
    return await leased(store, await enqueued(store, now=now, **asked), now=now, worker_id=worker_id)


async def claimed_again(store: Store, run: Run) -> Run:
    """That run, whose lease has expired, claimed by another worker that counts its claims."""
    assert run.lease_expires_at is not None
    expired = max(run.lease_expires_at, EXPIRY)
    again = await store.claim_next("worker-2", expired, LEASE_MS, max_claims_without_progress=10)
    assert again is not None and again.id == run.id, f"{again} was claimed where {run.id} was due"
    return again


async def checkpointed(store: Store, run: Run, *, now: str = NOW, **step: Any) -> Step:
    """A step of a leased run, as `new_step` describes it."""
    stored = await store.persist_step(run.id, run.lease_generation, new_step(**step), now)
    assert stored is not None, "the checkpoint was refused"
    return stored


async def logged(
    store: Store,
    run: Run,
    message: str = "a line",
    *,
    level: LogLevel = "info",
    step_name: str | None = None,
    data: JsonValue = None,
    now: str = NOW,
) -> Log:
    """A stored log line of a run."""
    return await store.create_log(NewLog(run.id, step_name, level, message, data=data, created_at=now))


async def completed(store: Store, *, now: str = NOW, output: JsonValue = None, **asked: Any) -> Run:
    """A run that ended well at `now`."""
    run = await claimed(store, now=now, **asked)
    assert await store.complete_run(run.id, run.lease_generation, output, now)
    return await again(store, run)


async def failed(store: Store, *, now: str = NOW, message: str = "boom", **asked: Any) -> Run:
    """A run that failed at `now`."""
    run = await claimed(store, now=now, **asked)
    assert await store.fail_run(run.id, run.lease_generation, RunError(message), now)
    return await again(store, run)


async def cancelled(store: Store, *, now: str = NOW, **asked: Any) -> Run:
    """A run that was cancelled at `now`, before anyone claimed it."""
    run = await enqueued(store, now=now, **asked)
    assert await store.cancel_run(run.id, now)
    return await again(store, run)


ENDS: Mapping[str, Callable[..., Awaitable[Run]]] = {"completed": completed, "failed": failed, "cancelled": cancelled}


async def again(store: Store, run: Run) -> Run:
    """The run as it is stored now."""
    stored = await store.get_run(run.id)
    assert stored is not None, f"run {run.id} is gone"
    return stored


async def contents(store: Store) -> list[tuple[Run, list[Step], list[Log]]]:
    """All that can be read of a store, to see that nothing has changed."""
    runs = await store.get_runs(ALL)
    return [(run, await store.get_steps(run.id), await store.get_logs(run.id)) for run in runs]


LeaseHoldersWrite = Callable[[Store, str, int], Awaitable[object]]

LEASE_HOLDERS_WRITES: Mapping[str, LeaseHoldersWrite] = {
    "persist_step": lambda store, run_id, generation: store.persist_step(run_id, generation, new_step("late"), LATER),
    "persist_step of a failed step": lambda store, run_id, generation: store.persist_step(
        run_id, generation, new_step("late", 1, "failed", error="boom"), LATER
    ),
    "update_progress": lambda store, run_id, generation: store.update_progress(
        run_id, generation, Progress(1, 2), LATER
    ),
    "renew_lease": lambda store, run_id, generation: store.renew_lease(run_id, generation, LATER, LEASE_MS),
    "release_lease": lambda store, run_id, generation: store.release_lease(run_id, generation, LATER),
    "complete_run": lambda store, run_id, generation: store.complete_run(run_id, generation, "late", LATER),
    "fail_run": lambda store, run_id, generation: store.fail_run(run_id, generation, RunError("late"), LATER),
}


async def refuses_all_writes(store: Store, run_id: str, generation: int) -> None:
    """Assert that a lease-holder's writes under a generation are refused, each, and change nothing."""
    before = await contents(store)
    for name, write in LEASE_HOLDERS_WRITES.items():
        answer = await write(store, run_id, generation)
        assert answer is None or answer is False, f"{name} was not refused: {answer}"
        assert await contents(store) == before, f"{name} was refused, and changed something"


async def raised(kind: type[E], awaitable: Awaitable[object]) -> E:
    """The exception of that kind which the awaitable raises."""
    try:
        answer = await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised, but {answer!r} returned")


def same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two JSON values are the same text: 1 is not 1.0, nor is the order of keys indifferent."""
    return encode(one) == encode(other)
