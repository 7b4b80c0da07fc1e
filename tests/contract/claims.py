"""Claims without progress: counted over all leases, begun anew by a completed step, and in the end a run's failure."""

from __future__ import annotations

from typing import Any

from durably_wasm.models import Run
from durably_wasm.stores import Store

from .given import (
    LEASE_MS,
    NOW,
    again,
    checkpointed,
    enqueued,
    refuses_all_writes,
)

MOST = 3
ERROR = "no progress: it was claimed 3 times and completed no step in between"


async def a_run_that_is_claimed_too_often_fails_instead(store: Store) -> None:
    run = await enqueued(store, input=[1], concurrency_key="k", labels={"a": "b"})
    for generation in range(1, MOST + 1):
        leased = await _claim(store)
        assert leased is not None and (leased.status, leased.lease_generation) == ("leased", generation)
    failed = await _claim(store)
    assert failed is not None and failed == await again(store, run)
    assert (failed.status, failed.error, failed.error_type) == ("failed", ERROR, "NoProgress")
    assert (failed.completed_at, failed.lease_owner, failed.lease_expires_at) == (NOW, None, None)
    assert (failed.input, failed.output, failed.error_traceback, failed.labels) == ([1], None, None, {"a": "b"})
    await refuses_all_writes(store, run.id, failed.lease_generation)
    assert await _claim(store) is None


async def its_failure_frees_its_key(store: Store) -> None:
    await enqueued(store, concurrency_key="k")
    for _ in range(MOST):
        await _claim(store)
    waiting = await enqueued(store, concurrency_key="k")
    failed, next_one = await _claim(store), await _claim(store)
    assert failed is not None and failed.status == "failed"
    assert next_one is not None and next_one.id == waiting.id


async def a_completed_step_begins_the_count_of_claims_anew(store: Store) -> None:
    await enqueued(store)
    for n in range(4):
        run = None
        for _ in range(MOST):
            run = await _claim(store)
            assert run is not None and run.status == "leased"
        assert run is not None
        await _progressed(store, run, n)
    statuses = [run and run.status for run in [await _claim(store) for _ in range(MOST + 1)]]
    assert statuses == [*["leased"] * MOST, "failed"]


async def several_steps_under_one_claim_count_as_one(store: Store) -> None:
    await enqueued(store)
    run = await _claim(store)
    assert run is not None
    for n in range(5):
        await _progressed(store, run, n)
    statuses = [run and run.status for run in [await _claim(store) for _ in range(MOST + 1)]]
    assert statuses == [*["leased"] * MOST, "failed"]


async def a_failed_attempt_at_a_step_is_no_progress(store: Store) -> None:
    await enqueued(store)
    for _ in range(MOST):
        run = await _claim(store)
        assert run is not None
        await checkpointed(store, run, status="failed", error="boom")
        assert await store.renew_lease(run.id, run.lease_generation, NOW, 0)
        await store.update_progress(run.id, run.lease_generation, None, NOW)
    failed = await _claim(store)
    assert failed is not None and failed.status == "failed"


async def a_claim_counts_however_its_lease_ends(store: Store) -> None:
    run = await enqueued(store)
    expired = await _claim(store)
    assert expired is not None and await store.release_expired_leases(NOW) == 1
    given_back = await _claim(store)
    assert given_back is not None and await store.release_lease(run.id, given_back.lease_generation, NOW)
    await _claim(store, worker_id="lock-1-a", lease_ms=LEASE_MS)
    failed = await _claim(store, epoch=2)
    assert failed is not None and (failed.id, failed.status) == (run.id, "failed")


async def each_run_has_a_count_of_its_own_claims(store: Store) -> None:
    first, second = await enqueued(store), await enqueued(store)
    for _ in range(MOST):
        assert await _claim(store, exclude=[second.id]) is not None
    assert [await _status(store, exclude=[first.id]) for _ in range(MOST)] == ["leased"] * MOST
    assert await _status(store, exclude=[second.id]) == await _status(store, exclude=[first.id]) == "failed"


async def without_a_limit_a_run_is_claimed_for_ever(store: Store) -> None:
    run = await enqueued(store)
    for generation in range(1, 30):
        leased = await store.claim_next("worker-1", NOW, 0)
        assert leased is not None and leased.lease_generation == generation
    assert (await again(store, run)).status == "leased"
    assert await _status(store) == "failed", "the claims before there was a limit count too"


async def a_death_and_the_claims_are_counted_apart(store: Store) -> None:
    await enqueued(store)
    for _ in range(2):
        run = await _claim(store)
        assert run is not None and await store.record_crash([run.id], "a trap", NOW) == []
    run = await _claim(store)
    assert run is not None and run.status == "leased"
    await _progressed(store, run, 0)
    run = await _claim(store)
    assert run is not None and run.status == "leased"
    died = [await store.record_crash([run.id], "a trap", NOW) for _ in range(3)]
    assert died == [[], [], [run.id]] and (await again(store, run)).error_type == "CrashLoop"


async def its_failure_deletes_the_steps_unless_they_are_kept(store: Store) -> None:
    for keep_steps in (False, True):
        run = await _claim_of(store, await enqueued(store))
        await checkpointed(store, run)
        assert await store.renew_lease(run.id, run.lease_generation, NOW, 0)
        while run.status == "leased":
            run = await _claim_of(store, run, keep_steps=keep_steps)
        assert len(await store.get_steps(run.id)) == keep_steps


async def what_is_counted_goes_with_the_run(store: Store) -> None:
    run = await enqueued(store)
    for _ in range(MOST + 1):
        await _claim(store)
    await store.delete_run(run.id)
    assert await store.get_run(run.id) is None


async def _claim(store: Store, *, worker_id: str = "worker-1", lease_ms: int = 0, **chosen: Any) -> Run | None:
    """Claim whatever is due, by default under a lease that is over at once."""
    return await store.claim_next(worker_id, NOW, lease_ms, max_claims_without_progress=MOST, **chosen)


async def _claim_of(store: Store, run: Run, **chosen: Any) -> Run:
    got = await _claim(store, **chosen)
    assert got is not None and got.id == run.id
    return got


async def _status(store: Store, **chosen: Any) -> str | None:
    run = await _claim(store, **chosen)
    return run and run.status


async def _progressed(store: Store, run: Run, n: int) -> None:
    """Complete a step, and let the lease, which that extends, be over."""
    await checkpointed(store, run, name=f"step-{n}", index=n)
    assert await store.renew_lease(run.id, run.lease_generation, NOW, 0)
