"""Claims: which run is due, and that one claimer gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

from durably_wasm.models import Run
from durably_wasm.stores import Store

from .given import (
    CROWD,
    ENDS,
    EXPIRY,
    LATER,
    LEASE_MS,
    NOW,
    after,
    again,
    checkpointed,
    claimed,
    enqueued,
    leased,
)

ANY = None


async def finds_nothing_in_an_empty_store(store: Store) -> None:
    for jobs in (ANY, ["import"], []):
        assert await store.claim_next("worker-1", NOW, LEASE_MS, jobs=jobs) is None


async def leases_the_run_under_a_new_generation(store: Store) -> None:
    run = await enqueued(store, input={"a": 1}, idempotency_key="b", concurrency_key="c", labels={"d": "e"})
    got = await store.claim_next("worker-1", after(1_000), LEASE_MS)
    assert got == replace(
        run,
        status="leased",
        lease_owner="worker-1",
        lease_expires_at=after(1_000 + LEASE_MS),
        lease_generation=1,
        started_at=after(1_000),
        updated_at=after(1_000),
    )
    assert await again(store, run) == got


async def a_reclaim_raises_the_generation_and_keeps_the_start(store: Store) -> None:
    run = await claimed(store)
    await checkpointed(store, run, name="parse")
    got = await store.claim_next("worker-2", LATER, LEASE_MS)
    assert got == replace(
        run,
        lease_owner="worker-2",
        lease_expires_at=after(60_000 + LEASE_MS),
        lease_generation=2,
        current_step_index=1,
        completed_step_count=1,
        started_at=NOW,
        updated_at=LATER,
    )
    assert await again(store, run) == got
    assert [step.name for step in await store.get_steps(run.id)] == ["parse"]


async def takes_the_oldest_first(store: Store) -> None:
    order = [await enqueued(store, now=after(ms)) for ms in (300, 100, 200)]
    assert await _claim_all(store) == [order[1].id, order[2].id, order[0].id]


async def takes_the_smallest_id_of_one_instant_first(store: Store) -> None:
    runs = [await enqueued(store, job_name=job) for job in ("b", "a", "c", "a", "b")]
    assert await _claim_all(store, ["a", "b", "c"]) == [run.id for run in runs]


async def takes_the_oldest_of_any_job_where_none_is_named(store: Store) -> None:
    runs = [await enqueued(store, job_name=job) for job in ("b", "a", "c", "a", "b")]
    assert await _claim_all(store) == [run.id for run in runs]


async def takes_runs_of_the_named_jobs_only(store: Store) -> None:
    await enqueued(store, job_name="export")
    run = await enqueued(store, job_name="import", now=after(1))
    await enqueued(store, job_name="import-csv", now=after(2))
    assert await _claim_all(store, ["import"]) == [run.id]
    assert await _claim_all(store, {"no such job", "impor", "Import"}) == []


async def takes_expired_runs_of_the_named_jobs_only(store: Store) -> None:
    run = await claimed(store, job_name="import")
    assert await store.claim_next("worker-2", LATER, LEASE_MS, jobs=["export"]) is None
    got = await store.claim_next("worker-2", LATER, LEASE_MS, jobs=["export", "import"])
    assert got is not None and got.id == run.id


async def takes_nothing_where_no_job_is_named(store: Store) -> None:
    await claimed(store)
    await enqueued(store)
    assert await store.claim_next("worker-2", LATER, LEASE_MS, jobs=[]) is None


async def takes_the_names_of_jobs_as_any_collection(store: Store) -> None:
    collections: list[Collection[str]] = [["import"], ("import",), {"import"}, frozenset({"import"}), {"import": 1}]
    for jobs in collections:
        run = await enqueued(store)
        assert await _claim_all(store, jobs) == [run.id], type(jobs).__name__


async def passes_over_pending_runs_that_the_claimer_executes(store: Store) -> None:
    first = await enqueued(store)
    second = await enqueued(store, now=after(1))
    got = await store.claim_next("worker-1", LATER, LEASE_MS, exclude=[first.id])
    assert got is not None and got.id == second.id
    assert await store.claim_next("worker-1", LATER, LEASE_MS, exclude={first.id}) is None


async def passes_over_expired_runs_that_the_claimer_executes(store: Store) -> None:
    run = await claimed(store)
    assert await store.claim_next("worker-1", LATER, LEASE_MS, exclude=[run.id]) is None
    assert await store.claim_next("worker-2", LATER, LEASE_MS) is not None


async def leaves_a_running_lease_alone(store: Store) -> None:
    run = await claimed(store)
    assert await store.claim_next("worker-2", after(LEASE_MS - 1), LEASE_MS) is None
    assert await again(store, run) == run


async def takes_over_a_lease_at_the_instant_it_expires(store: Store) -> None:
    run = await claimed(store)
    got = await store.claim_next("worker-2", EXPIRY, LEASE_MS)
    assert got is not None and (got.id, got.lease_generation) == (run.id, 2)


async def takes_an_expired_run_before_a_younger_pending_one(store: Store) -> None:
    interrupted = await claimed(store)
    pending = await enqueued(store, now=after(1))
    assert await _claim_all(store, at=LATER) == [interrupted.id, pending.id]


async def takes_an_older_pending_run_before_an_expired_one(store: Store) -> None:
    pending = await enqueued(store)
    interrupted = await claimed(store, now=after(1))
    assert await _claim_all(store, at=LATER) == [pending.id, interrupted.id]


async def takes_the_oldest_of_several_expired_runs(store: Store) -> None:
    runs = [await claimed(store, now=after(ms), job_name=job) for ms, job in ((20, "b"), (10, "c"), (30, "a"))]
    assert await _claim_all(store, at=LATER) == [runs[1].id, runs[0].id, runs[2].id]


async def takes_no_run_that_has_ended(store: Store) -> None:
    for end in ENDS.values():
        await end(store)
    assert await store.claim_next("worker-2", LATER, LEASE_MS) is None


async def a_run_given_back_takes_its_old_place(store: Store) -> None:
    oldest = await claimed(store)
    younger = await enqueued(store, now=after(1))
    assert await store.release_lease(oldest.id, oldest.lease_generation, after(2))
    assert await _claim_all(store) == [oldest.id, younger.id]


async def passes_over_a_run_whose_key_is_leased(store: Store) -> None:
    await claimed(store, concurrency_key="shop-1")
    await enqueued(store, concurrency_key="shop-1", now=after(1))
    free = await enqueued(store, concurrency_key="shop-2", now=after(2))
    assert await _claim_all(store, at=after(3)) == [free.id]


async def passes_over_a_run_whose_key_another_job_has_leased(store: Store) -> None:
    await claimed(store, job_name="export", concurrency_key="shop-1")
    await enqueued(store, job_name="import", concurrency_key="shop-1", now=after(1))
    free = await enqueued(store, job_name="import", now=after(2))
    assert await _claim_all(store, ["import"], at=after(3)) == [free.id]
    assert await _claim_all(store, at=after(3)) == []


async def an_expired_lease_does_not_free_its_key(store: Store) -> None:
    interrupted = await claimed(store, job_name="export", concurrency_key="shop-1")
    await enqueued(store, job_name="import", concurrency_key="shop-1", now=after(1))
    assert await store.claim_next("worker-2", LATER, LEASE_MS, jobs=["import"]) is None, "its job is not registered"
    assert await store.claim_next("worker-1", LATER, LEASE_MS, exclude=[interrupted.id]) is None, "it is executing it"


async def an_expired_lease_may_be_taken_over_and_still_holds_its_key(store: Store) -> None:
    interrupted = await claimed(store, concurrency_key="shop-1")
    await enqueued(store, concurrency_key="shop-1", now=after(1))
    assert await _claim_all(store, at=LATER) == [interrupted.id]


async def an_older_run_waits_for_the_key_of_an_interrupted_one(store: Store) -> None:
    older = await enqueued(store, concurrency_key="shop-1")
    interrupted = await claimed(store, job_name="export", concurrency_key="shop-1", now=after(1))
    assert await _claim_all(store, at=LATER) == [interrupted.id]
    assert await store.complete_run(interrupted.id, 2, None, LATER)
    assert await _claim_all(store, at=LATER) == [older.id]


async def the_end_of_a_run_frees_its_key(store: Store) -> None:
    for status, end in ENDS.items():
        await end(store, concurrency_key="shop-1")
        following = await enqueued(store, concurrency_key="shop-1")
        assert await _claim_all(store) == [following.id], status
        assert await store.cancel_run(following.id, NOW)


async def cancelling_a_leased_run_frees_its_key(store: Store) -> None:
    run = await claimed(store, concurrency_key="shop-1")
    following = await enqueued(store, concurrency_key="shop-1")
    assert await store.cancel_run(run.id, after(1))
    assert await _claim_all(store) == [following.id]


async def deleting_a_leased_run_frees_its_key(store: Store) -> None:
    run = await claimed(store, concurrency_key="shop-1")
    following = await enqueued(store, concurrency_key="shop-1")
    await store.delete_run(run.id)
    assert await _claim_all(store) == [following.id]


async def a_run_given_back_frees_its_key(store: Store) -> None:
    run = await claimed(store, job_name="export", concurrency_key="shop-1")
    following = await enqueued(store, job_name="import", concurrency_key="shop-1")
    assert await store.release_lease(run.id, run.lease_generation, after(1))
    assert await _claim_all(store, ["import"]) == [following.id]


async def finds_a_free_run_behind_any_number_of_blocked_ones(store: Store) -> None:
    await _finds_a_free_run_behind_blocked_ones(store, ["import"])


async def finds_a_free_run_of_any_job_behind_any_number_of_blocked_ones(store: Store) -> None:
    await _finds_a_free_run_behind_blocked_ones(store, ANY)


async def _finds_a_free_run_behind_blocked_ones(store: Store, jobs: Collection[str] | None) -> None:
    for blocked in range(1, 20):  # past the chunks of 8 in which IndexedDB is read
        await _block_one(store, blocked)
        free = await enqueued(store, now=after(1_000))
        assert await _claim_all(store, jobs) == [free.id], f"behind {blocked} blocked runs"


async def finds_nothing_where_every_run_is_blocked(store: Store) -> None:
    for blocked in range(1, 18):
        await _block_one(store, blocked)
        assert await store.claim_next("worker-2", after(2_000), LEASE_MS, jobs=["import"]) is None, blocked
        assert await store.claim_next("worker-2", after(2_000), LEASE_MS) is None, blocked


async def finds_a_run_behind_any_number_of_executing_ones(store: Store) -> None:
    runs = [await enqueued(store, now=after(n)) for n in range(20)]
    for executing in (1, 7, 8, 9, 15, 16, 17, 19):
        exclude = [run.id for run in runs[:executing]]
        got = await store.claim_next("worker-1", LATER, LEASE_MS, jobs=["import"], exclude=exclude)
        assert got is not None and got.id == runs[executing].id, f"{executing} executing"
        assert await store.release_lease(got.id, got.lease_generation, LATER)


async def a_job_whose_runs_are_blocked_does_not_hold_up_another(store: Store) -> None:
    for blocked in range(1, 11):
        await _block_one(store, blocked)
    behind = await enqueued(store, job_name="import", now=after(1_000))
    younger = await enqueued(store, job_name="report", now=after(1_001))
    oldest = await enqueued(store, job_name="mail", now=after(999))
    expected = [oldest.id, behind.id, younger.id]
    assert await _claim_all(store, ["report", "import", "mail"]) == expected


async def concurrent_claimers_get_distinct_runs(store: Store) -> None:
    runs = [await enqueued(store, now=after(n)) for n in CROWD]
    claims = await _crowd_claims(store)
    assert sorted(run.id for run in claims) == [run.id for run in runs]
    assert {run.lease_generation for run in claims} == {1}
    assert len({run.lease_owner for run in claims}) == len(CROWD)


async def of_concurrent_claimers_of_one_run_one_gets_it(store: Store) -> None:
    run = await enqueued(store)
    for generation in range(1, 6):
        [won] = await _crowd_claims(store, after(generation * LEASE_MS))
        assert (won.id, won.lease_generation) == (run.id, generation)
        assert await again(store, run) == won


async def concurrent_claimers_of_too_few_runs_leave_the_rest_empty_handed(store: Store) -> None:
    runs = [await enqueued(store, job_name=job) for job in ("a", "b", "c")]
    assert sorted(run.id for run in await _crowd_claims(store)) == [run.id for run in runs]


async def of_concurrent_claimers_of_one_key_one_gets_a_run(store: Store) -> None:
    for n in CROWD:
        await enqueued(store, job_name=f"job-{n}", concurrency_key="shop-1")
    assert len(await _crowd_claims(store)) == 1


async def a_crowd_works_off_a_backlog_with_keys_in_order(store: Store) -> None:
    for n in CROWD:
        await enqueued(store, job_name=f"job-{n}", concurrency_key=f"shop-{n % 3}", now=after(n))
    done: list[Run] = []
    for _ in CROWD:
        won = await _crowd_claims(store)
        done += won
        for run in won:
            assert await store.complete_run(run.id, run.lease_generation, None, LATER)
    assert len({run.id for run in done}) == len(CROWD)
    for shop in ("shop-0", "shop-1", "shop-2"):
        created = [run.created_at for run in done if run.concurrency_key == shop]
        assert created == sorted(created)


async def _claim_all(store: Store, jobs: Collection[str] | None = ANY, *, at: str = after(2_000)) -> list[str]:
    """The ids of all that are due, in the order of the claims."""
    ids = []
    while run := await store.claim_next("worker-9", at, LEASE_MS, jobs=jobs):
        ids.append(run.id)
    return ids


async def _crowd_claims(store: Store, now: str = after(100)) -> list[Run]:
    claims = await asyncio.gather(*(store.claim_next(f"worker-{n}", now, LEASE_MS) for n in CROWD))
    return [run for run in claims if run is not None]


async def _block_one(store: Store, number: int) -> None:
    """A pending run whose key a run of another job holds."""
    run = await enqueued(store, job_name="export", concurrency_key=f"shop-{number}")
    await leased(store, run, now=NOW, lease_ms=86_400_000)
    await enqueued(store, job_name="import", concurrency_key=f"shop-{number}", now=after(number))
