"""Leases: who may write, how long, and how a run is given back."""

from __future__ import annotations

from dataclasses import replace

from durably_wasm.models import Progress
from durably_wasm.stores import Store

from .given import (
    ENDS,
    EXPIRY,
    LATER,
    LEASE_HOLDERS_WRITES,
    LEASE_MS,
    NOW,
    after,
    again,
    cancelled,
    checkpointed,
    claimed,
    enqueued,
    leased,
    new_step,
    refuses_all_writes,
)


async def accepts_each_write_of_the_lease_holder(store: Store) -> None:
    for name, write in LEASE_HOLDERS_WRITES.items():
        run = await claimed(store)
        answer = await write(store, run.id, run.lease_generation)
        assert answer is True or (answer is not None and name.startswith("persist_step")), name


async def refuses_a_checkpoint_from_a_stale_lease_holder(store: Store) -> None:
    stale = await claimed(store)
    await leased(store, stale, now=LATER, worker_id="worker-2")
    assert await store.persist_step(stale.id, stale.lease_generation, new_step(), LATER) is None
    assert await store.get_steps(stale.id) == []


async def refuses_every_write_of_a_stale_lease_holder(store: Store) -> None:
    stale = await claimed(store)
    current = await leased(store, stale, now=LATER, worker_id="worker-2")
    await checkpointed(store, current, name="parse", now=LATER)
    await refuses_all_writes(store, stale.id, stale.lease_generation)


async def refuses_a_stale_holder_that_has_the_same_name(store: Store) -> None:
    stale = await claimed(store, worker_id="worker-1")
    await leased(store, stale, now=LATER, worker_id="worker-1")
    await refuses_all_writes(store, stale.id, stale.lease_generation)


async def refuses_every_write_under_a_generation_to_come(store: Store) -> None:
    run = await claimed(store)
    await refuses_all_writes(store, run.id, run.lease_generation + 1)
    await refuses_all_writes(store, run.id, 0)


async def refuses_every_write_to_a_run_that_nobody_claimed(store: Store) -> None:
    run = await enqueued(store)
    await refuses_all_writes(store, run.id, run.lease_generation)


async def refuses_every_write_to_a_run_that_was_given_back(store: Store) -> None:
    run = await claimed(store)
    assert await store.release_lease(run.id, run.lease_generation, after(1))
    await refuses_all_writes(store, run.id, run.lease_generation)


async def refuses_every_write_to_a_run_whose_expired_lease_was_released(store: Store) -> None:
    run = await claimed(store)
    assert await store.release_expired_leases(LATER) == 1
    await refuses_all_writes(store, run.id, run.lease_generation)


async def refuses_every_write_to_a_run_that_was_cancelled_meanwhile(store: Store) -> None:
    run = await claimed(store)
    await checkpointed(store, run)
    assert await store.cancel_run(run.id, after(1))
    await refuses_all_writes(store, run.id, run.lease_generation)


async def refuses_every_write_to_a_run_that_has_ended(store: Store) -> None:
    for end in ENDS.values():
        run = await end(store)
        await refuses_all_writes(store, run.id, run.lease_generation)


async def refuses_every_write_to_a_run_that_was_deleted(store: Store) -> None:
    run = await claimed(store)
    await store.delete_run(run.id)
    await refuses_all_writes(store, run.id, run.lease_generation)


async def refuses_every_write_to_a_run_that_never_was(store: Store) -> None:
    await claimed(store)
    await refuses_all_writes(store, "01KDVDPG00TZ0Q5XJ2Z8Q1R9F7", 1)


async def a_write_touches_no_other_run(store: Store) -> None:
    others = [await claimed(store), await enqueued(store), await cancelled(store)]
    for write in LEASE_HOLDERS_WRITES.values():
        run = await claimed(store)
        assert await write(store, run.id, run.lease_generation)
    assert [await again(store, other) for other in others] == others
    assert [await store.get_steps(other.id) for other in others] == [[], [], []]


async def accepts_each_write_after_the_lease_expired_unclaimed(store: Store) -> None:
    for name, write in LEASE_HOLDERS_WRITES.items():
        run = await claimed(store)
        assert run.lease_expires_at is not None and run.lease_expires_at < LATER  # the time of each write
        assert await write(store, run.id, run.lease_generation), name


async def renewal_extends_the_lease_from_now(store: Store) -> None:
    run = await claimed(store)
    assert await store.renew_lease(run.id, run.lease_generation, after(10_000), 5_000) is True
    assert await again(store, run) == replace(run, lease_expires_at=after(15_000), updated_at=after(10_000))


async def a_renewed_lease_is_not_claimed(store: Store) -> None:
    run = await claimed(store)
    assert await store.renew_lease(run.id, run.lease_generation, after(LEASE_MS - 1), LEASE_MS)
    assert await store.claim_next("worker-2", EXPIRY, LEASE_MS) is None
    assert await store.claim_next("worker-2", after(2 * LEASE_MS - 1), LEASE_MS) is not None


async def renewal_after_expiry_takes_the_lease_up_again(store: Store) -> None:
    run = await claimed(store)
    assert await store.renew_lease(run.id, run.lease_generation, LATER, LEASE_MS) is True
    assert await store.claim_next("worker-2", LATER, LEASE_MS) is None
    await checkpointed(store, run, now=LATER)


async def a_run_given_back_is_pending_and_keeps_what_it_did(store: Store) -> None:
    run = await claimed(store, input=[1], labels={"a": "b"})
    await checkpointed(store, run, name="parse", output=3)
    await store.update_progress(run.id, run.lease_generation, Progress(1, 2, "half"), after(1))
    assert await store.release_lease(run.id, run.lease_generation, after(2)) is True
    assert await again(store, run) == replace(
        run,
        status="pending",
        lease_owner=None,
        lease_expires_at=None,
        current_step_index=1,
        completed_step_count=1,
        progress=Progress(1, 2, "half"),
        updated_at=after(2),
    )
    assert [step.output for step in await store.get_steps(run.id)] == [3]


async def a_run_given_back_may_be_claimed_at_once(store: Store) -> None:
    run = await claimed(store)
    assert await store.release_lease(run.id, run.lease_generation, after(1))
    got = await store.claim_next("worker-2", after(1), LEASE_MS)
    assert got is not None and (got.id, got.lease_generation, got.started_at) == (run.id, 2, NOW)


async def a_run_whose_key_is_pending_is_given_back_as_a_lease_that_is_over(store: Store) -> None:
    run = await claimed(store, concurrency_key="shop-1")
    newer = await enqueued(store, concurrency_key="shop-1", now=after(1))
    assert await store.release_lease(run.id, run.lease_generation, after(2)) is True
    assert await again(store, run) == replace(run, lease_expires_at=after(2), updated_at=after(2))
    assert await again(store, newer) == newer


async def a_run_given_back_as_a_lease_that_is_over_runs_before_the_newer_one(store: Store) -> None:
    run = await claimed(store, concurrency_key="shop-1")
    await enqueued(store, concurrency_key="shop-1", now=after(1))
    assert await store.release_lease(run.id, run.lease_generation, after(2))
    got = await store.claim_next("worker-2", after(2), LEASE_MS)
    assert got is not None and (got.id, got.lease_generation) == (run.id, 2)
    assert await store.claim_next("worker-3", after(2), LEASE_MS) is None
    await refuses_all_writes(store, run.id, run.lease_generation)


async def a_pending_run_of_another_job_does_not_hinder_giving_back(store: Store) -> None:
    run = await claimed(store, job_name="import", concurrency_key="shop-1")
    await enqueued(store, job_name="export", concurrency_key="shop-1")
    assert await store.release_lease(run.id, run.lease_generation, after(1))
    assert (await again(store, run)).status == "pending"


async def a_pending_run_without_a_key_does_not_hinder_giving_back(store: Store) -> None:
    run = await claimed(store)
    await enqueued(store)
    assert await store.release_lease(run.id, run.lease_generation, after(1))
    assert (await again(store, run)).status == "pending"


async def a_run_given_back_holds_its_key_as_a_pending_one(store: Store) -> None:
    run = await claimed(store, concurrency_key="shop-1")
    assert await store.release_lease(run.id, run.lease_generation, after(1))
    given_back = await again(store, run)
    second = await claimed(store, job_name="export", concurrency_key="shop-1")
    assert await store.claim_next("worker-2", after(2), LEASE_MS) is None, "the other job's run has the key"
    assert await store.cancel_run(second.id, after(2))
    got = await store.claim_next("worker-2", after(2), LEASE_MS)
    assert got is not None and got.id == given_back.id


async def puts_expired_runs_back_to_pending_and_counts_them(store: Store) -> None:
    expired = [await claimed(store, labels={"n": str(n)}) for n in range(3)]
    running = await claimed(store, now=after(1))
    waiting = await enqueued(store)
    assert await store.release_expired_leases(EXPIRY) == 3
    for run in expired:
        assert await again(store, run) == replace(
            run, status="pending", lease_owner=None, lease_expires_at=None, updated_at=EXPIRY
        )
    assert await again(store, running) == running
    assert await again(store, waiting) == waiting


async def counts_no_lease_twice(store: Store) -> None:
    await claimed(store)
    assert await store.release_expired_leases(after(LEASE_MS - 1)) == 0
    assert await store.release_expired_leases(EXPIRY) == 1
    assert await store.release_expired_leases(EXPIRY) == 0


async def an_expired_run_keeps_its_steps(store: Store) -> None:
    run = await claimed(store)
    step = await checkpointed(store, run)
    assert await store.release_expired_leases(LATER) == 1
    assert await store.get_steps(run.id) == [step]


async def an_expired_run_whose_key_is_pending_stays_as_it_is(store: Store) -> None:
    interrupted = await claimed(store, concurrency_key="shop-1")
    newer = await enqueued(store, concurrency_key="shop-1", now=after(1))
    free = await claimed(store, concurrency_key="shop-2")
    assert await store.release_expired_leases(LATER) == 1
    assert await again(store, interrupted) == interrupted
    assert await again(store, newer) == newer
    assert (await again(store, free)).status == "pending"


async def an_interrupted_run_goes_on_before_the_newer_one_with_its_key(store: Store) -> None:
    interrupted = await claimed(store, concurrency_key="shop-1")
    newer = await enqueued(store, concurrency_key="shop-1", now=after(1))
    assert await store.release_expired_leases(LATER) == 0
    got = await store.claim_next("worker-2", LATER, LEASE_MS)
    assert got is not None and (got.id, got.lease_generation) == (interrupted.id, 2)
    assert await store.claim_next("worker-3", LATER, LEASE_MS) is None
    assert await store.complete_run(got.id, 2, None, LATER)
    got = await store.claim_next("worker-3", LATER, LEASE_MS)
    assert got is not None and got.id == newer.id


async def a_pending_run_of_another_job_does_not_keep_a_lease_up(store: Store) -> None:
    await claimed(store, job_name="import", concurrency_key="shop-1")
    await enqueued(store, job_name="export", concurrency_key="shop-1")
    assert await store.release_expired_leases(LATER) == 1


async def pending_runs_without_a_key_do_not_keep_a_lease_up(store: Store) -> None:
    await claimed(store)
    await enqueued(store)
    assert await store.release_expired_leases(LATER) == 1
