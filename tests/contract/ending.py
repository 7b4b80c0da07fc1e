"""Ends: completed, failed and cancelled are final, and take the steps with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from durably_wasm.models import Progress, Run, RunError
from durably_wasm.stores import Store

from .given import (
    CROWD,
    ENDS,
    LATER,
    LEASE_MS,
    after,
    again,
    checkpointed,
    claimed,
    contents,
    enqueued,
    leased,
    logged,
    new_step,
    refuses_all_writes,
)

KEYS: Mapping[str, Any] = {"idempotency_key": "a", "concurrency_key": "b", "labels": {"c": "d"}, "input": {"e": 1}}


async def completes_a_run_with_its_output(store: Store) -> None:
    run = await claimed(store, **KEYS)
    await checkpointed(store, run, index=4)
    await store.update_progress(run.id, run.lease_generation, Progress(1, 1), after(1))
    assert await store.complete_run(run.id, run.lease_generation, {"count": 3}, after(2)) is True
    assert await again(store, run) == replace(
        run,
        status="completed",
        output={"count": 3},
        current_step_index=5,
        completed_step_count=1,
        progress=Progress(1, 1),
        lease_owner=None,
        lease_expires_at=None,
        completed_at=after(2),
        updated_at=after(2),
    )


async def fails_a_run_with_its_error(store: Store) -> None:
    run = await claimed(store, **KEYS)
    await checkpointed(store, run)
    error = RunError("boom", "ValueError", 'Traceback…\n  File "jobs.py"\nValueError: boom')
    assert await store.fail_run(run.id, run.lease_generation, error, after(2)) is True
    assert await again(store, run) == replace(
        run,
        status="failed",
        error=error.message,
        error_type=error.type,
        error_traceback=error.traceback,
        current_step_index=1,
        completed_step_count=1,
        lease_owner=None,
        lease_expires_at=None,
        completed_at=after(2),
        updated_at=after(2),
    )


async def fails_a_run_with_a_message_alone(store: Store) -> None:
    run = await claimed(store)
    assert await store.fail_run(run.id, run.lease_generation, RunError(""), after(1))
    stored = await again(store, run)
    assert (stored.error, stored.error_type, stored.error_traceback) == ("", None, None)


async def cancels_a_pending_run(store: Store) -> None:
    run = await enqueued(store, **KEYS)
    assert await store.cancel_run(run.id, after(1)) is True
    assert await again(store, run) == replace(
        run, status="cancelled", completed_at=after(1), updated_at=after(1), started_at=None
    )


async def cancels_a_leased_run(store: Store) -> None:
    run = await claimed(store, **KEYS)
    assert await store.cancel_run(run.id, after(1)) is True
    assert await again(store, run) == replace(
        run,
        status="cancelled",
        lease_owner=None,
        lease_expires_at=None,
        completed_at=after(1),
        updated_at=after(1),
    )


async def cancels_a_run_that_was_given_back(store: Store) -> None:
    run = await claimed(store)
    assert await store.release_lease(run.id, run.lease_generation, after(1))
    assert await store.cancel_run(run.id, after(2)) is True
    assert (await again(store, run)).status == "cancelled"


async def does_not_cancel_a_run_that_never_was(store: Store) -> None:
    assert await store.cancel_run("no such run", after(1)) is False


async def the_end_takes_the_steps_and_leaves_the_logs(store: Store) -> None:
    for name, end in ENDINGS.items():
        run, other = await claimed(store), await claimed(store)
        await checkpointed(store, run, name="parse")
        await checkpointed(store, run, name="save", index=1, status="failed", error="boom")
        line = await logged(store, run)
        kept = await checkpointed(store, other)
        assert await end(store, run, False) is True
        assert await store.get_steps(run.id) == [], name
        assert await store.get_logs(run.id) == [line], name
        assert await store.get_steps(other.id) == [kept], name


async def the_end_leaves_the_steps_where_they_are_to_be_kept(store: Store) -> None:
    for name, end in ENDINGS.items():
        run = await claimed(store)
        steps = [await checkpointed(store, run, name="parse"), await checkpointed(store, run, name="save", index=1)]
        assert await end(store, run, True) is True
        assert await store.get_steps(run.id) == steps, name
        assert (await again(store, run)).completed_step_count == 2


async def a_refused_end_leaves_the_steps(store: Store) -> None:
    stale = await claimed(store)
    step = await checkpointed(store, stale)
    current = await leased(store, stale, now=LATER, worker_id="worker-2")
    assert await store.complete_run(stale.id, stale.lease_generation, "late", LATER) is False
    assert await store.fail_run(stale.id, stale.lease_generation, RunError("late"), LATER) is False
    assert await store.get_steps(stale.id) == [step]
    assert (await again(store, stale)).output is None
    assert await store.complete_run(current.id, current.lease_generation, "in time", LATER) is True
    assert (await again(store, stale)).output == "in time"


async def a_run_whose_lease_expired_unclaimed_may_still_complete(store: Store) -> None:
    run = await claimed(store)
    assert await store.complete_run(run.id, run.lease_generation, "done", LATER) is True
    assert (await again(store, run)).status == "completed"


async def a_run_whose_lease_expired_unclaimed_may_still_fail(store: Store) -> None:
    run = await claimed(store)
    assert await store.fail_run(run.id, run.lease_generation, RunError("boom"), LATER) is True
    assert (await again(store, run)).status == "failed"


async def an_end_is_final(store: Store) -> None:
    for name, end in ENDINGS.items():
        run = await claimed(store)
        assert await end(store, run, True)
        before = await contents(store)
        assert await store.cancel_run(run.id, LATER) is False, name
        await refuses_all_writes(store, run.id, run.lease_generation)
        assert await store.release_expired_leases(LATER) == 0, name
        assert await store.claim_next("worker-2", LATER, LEASE_MS) is None, name
        assert await contents(store) == before, name


async def a_refused_cancellation_leaves_the_steps(store: Store) -> None:
    run = await claimed(store)
    step = await checkpointed(store, run)
    assert await store.complete_run(run.id, run.lease_generation, None, after(1), keep_steps=True)
    assert await store.cancel_run(run.id, after(2)) is False
    assert await store.get_steps(run.id) == [step]


async def a_cancelled_run_leaves_no_late_step(store: Store) -> None:
    run = await claimed(store)
    assert await store.cancel_run(run.id, after(1))
    assert await store.persist_step(run.id, run.lease_generation, new_step(), after(2)) is None
    assert await store.get_steps(run.id) == []


async def of_concurrent_ends_one_wins(store: Store) -> None:
    run = await claimed(store)
    answers = await asyncio.gather(
        *(store.complete_run(run.id, run.lease_generation, n, after(n)) for n in CROWD),
        *(store.fail_run(run.id, run.lease_generation, RunError(str(n)), after(n)) for n in CROWD),
        *(store.cancel_run(run.id, after(n)) for n in CROWD),
    )
    assert answers.count(True) == 1
    winner = answers.index(True)
    assert (await again(store, run)).status == ("completed", "failed", "cancelled")[winner // len(CROWD)]
    assert (await again(store, run)).completed_at == after(winner % len(CROWD))


ENDINGS: Mapping[str, Callable[[Store, Run, bool], Awaitable[bool]]] = {
    "complete_run": lambda store, run, keep: store.complete_run(
        run.id, run.lease_generation, None, after(9), keep_steps=keep
    ),
    "fail_run": lambda store, run, keep: store.fail_run(
        run.id, run.lease_generation, RunError("boom"), after(9), keep_steps=keep
    ),
    "cancel_run": lambda store, run, keep: store.cancel_run(run.id, after(9), keep_steps=keep),
}


async def a_run_neither_begins_before_it_was_triggered_nor_ends_before_it_began(store: Store) -> None:
    for end in ENDS:
        run = await enqueued(store, now=after(5_000))
        if end == "cancelled":
            assert await store.cancel_run(run.id, after(1_000))
            assert (await again(store, run)).completed_at == after(5_000)
            continue
        got = await leased(store, run, now=after(1_000))
        assert got.started_at == after(5_000)
        if end == "completed":
            assert await store.complete_run(run.id, got.lease_generation, None, after(2_000))
        else:
            assert await store.fail_run(run.id, got.lease_generation, RunError("boom"), after(2_000))
        assert (await again(store, run)).completed_at == after(5_000)
