"""Epochs: engines under the database's lock know which leases are void, and are fenced off when they lose it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from durably_wasm.errors import StoreError
from durably_wasm.models import NewLog, Progress, Run, RunError
from durably_wasm.stores import Store

from .given import (
    ALL,
    EXPIRY,
    LEASE_MS,
    NOW,
    after,
    again,
    cancelled,
    checkpointed,
    claimed,
    completed,
    contents,
    enqueued,
    logged,
    new_run,
    new_step,
    raised,
    refuses_all_writes,
)

OpenStore = Callable[[], Awaitable[Store]]


async def a_lease_of_a_lower_epoch_is_void_for_the_present_one(store: Store) -> None:
    run = await claimed(store, worker_id="lock-1-a1b2")
    got = await store.claim_next("lock-2-c3d4", after(1), LEASE_MS, epoch=2)
    assert got is not None
    assert (got.id, got.lease_owner, got.lease_generation) == (run.id, "lock-2-c3d4", 2)
    assert (got.started_at, got.lease_expires_at) == (NOW, after(1 + LEASE_MS))
    await refuses_all_writes(store, run.id, run.lease_generation)


async def compares_epochs_as_numbers(store: Store) -> None:
    await claimed(store, worker_id="lock-9-a1b2")
    assert await store.claim_next("lock-10-c3d4", after(1), LEASE_MS, epoch=10) is not None
    assert await store.claim_next("lock-9-c3d4", after(2), LEASE_MS, epoch=9) is None
    assert await store.claim_next("lock-100-c3d4", after(2), LEASE_MS, epoch=100) is not None


async def leases_of_the_same_and_of_higher_epochs_are_not_void(store: Store) -> None:
    await claimed(store, worker_id="lock-2-a1b2")
    for epoch in (1, 2):
        assert await store.claim_next(f"lock-{epoch}-c3d4", after(1), LEASE_MS, epoch=epoch) is None
    assert await store.claim_next("lock-2-c3d4", EXPIRY, LEASE_MS, epoch=2) is not None, "it expires by time"


async def no_lease_is_void_for_a_claimer_without_an_epoch(store: Store) -> None:
    await claimed(store, worker_id="lock-1-a1b2")
    assert await store.claim_next("lock-2-c3d4", after(1), LEASE_MS) is None
    assert await store.claim_next("worker-2", after(1), LEASE_MS) is None
    assert await store.claim_next("worker-2", EXPIRY, LEASE_MS) is not None


async def leases_of_other_owners_expire_by_time(store: Store) -> None:
    owners = ["worker-1", "lock", "lock-", "lock-1", "lock--1-a", "lock-a-1", "xlock-1-a", "Lock-1-a", "lock-1a-b", ""]
    owners += [
        "lock-01-a",
        "lock-+1-a",
        "lock-1.0-a",
        "lock- 1-a",
        "lock-1 -a",
        "lock-1_0-a",
        "a\nlock-1-a",
        "lock-\u0661-a",
    ]
    runs = {owner: await claimed(store, worker_id=owner, job_name=f"of {owner}") for owner in owners}
    for owner, run in runs.items():
        jobs = [run.job_name]
        got = await store.claim_next("lock-9-c3d4", after(1), LEASE_MS, jobs=jobs, epoch=9)
        assert got is None, f"{owner!r} is no engine under the lock"
        assert await store.claim_next("lock-9-c3d4", EXPIRY, LEASE_MS, jobs=jobs, epoch=9) is not None


async def void_leases_are_taken_by_age_with_the_rest(store: Store) -> None:
    oldest = await enqueued(store)
    void = await claimed(store, now=after(1), worker_id="lock-1-a1b2")
    youngest = await enqueued(store, now=after(2))
    order = []
    while run := await store.claim_next("lock-2-c3d4", after(3), LEASE_MS, epoch=2):
        order.append(run.id)
    assert order == [oldest.id, void.id, youngest.id]


async def a_void_lease_still_holds_its_key(store: Store) -> None:
    void = await claimed(store, job_name="export", concurrency_key="shop-1", worker_id="lock-1-a1b2")
    await enqueued(store, job_name="import", concurrency_key="shop-1")
    assert await store.claim_next("lock-2-c3d4", after(1), LEASE_MS, jobs=["import"], epoch=2) is None
    got = await store.claim_next("lock-2-c3d4", after(1), LEASE_MS, epoch=2)
    assert got is not None and got.id == void.id
    assert await store.claim_next("lock-2-c3d4", after(1), LEASE_MS, epoch=2) is None


async def a_void_lease_respects_jobs_and_what_the_claimer_executes(store: Store) -> None:
    run = await claimed(store, worker_id="lock-1-a1b2")
    assert await store.claim_next("lock-2-c3d4", after(1), LEASE_MS, jobs=["export"], epoch=2) is None
    assert await store.claim_next("lock-2-c3d4", after(1), LEASE_MS, exclude=[run.id], epoch=2) is None
    assert await store.claim_next("lock-2-c3d4", after(1), LEASE_MS, jobs=["import"], epoch=2) is not None


async def an_epoch_follows_another(store: Store) -> None:
    assert [await store.advance_epoch() for _ in range(3)] == [1, 2, 3]


async def an_engine_of_the_present_epoch_works_as_ever(store: Store) -> None:
    await store.advance_epoch()
    run = await claimed(store, input=[1], idempotency_key="a", concurrency_key="b")
    await checkpointed(store, run)
    assert await store.complete_run(run.id, run.lease_generation, [2], after(1))
    assert (await again(store, run)).output == [2]


async def all_handles_count_the_same_epoch(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    epochs = [await first.advance_epoch(), await second.advance_epoch(), await first.advance_epoch()]
    assert epochs == [1, 2, 3]


async def refuses_every_change_by_a_superseded_engine(open_store: OpenStore) -> None:
    superseded, present = await open_store(), await open_store()
    await superseded.advance_epoch()
    changes = await _changes(superseded)
    await present.advance_epoch()
    before = await contents(present)
    for name, change in changes.items():
        error = await raised(StoreError, change())
        assert "poch" in str(error) and error.is_final, f"{name}: {error}"
        assert await contents(present) == before, f"{name} was refused, and changed something"


async def refuses_a_superseded_engine_also_where_nothing_would_change(open_store: OpenStore) -> None:
    superseded, present = await open_store(), await open_store()
    await superseded.advance_epoch()
    await present.advance_epoch()
    await raised(StoreError, superseded.claim_next("worker-1", NOW, LEASE_MS))
    await raised(StoreError, superseded.release_expired_leases(NOW))
    await raised(StoreError, superseded.renew_lease("no such run", 1, NOW, LEASE_MS))
    await raised(StoreError, superseded.persist_step("no such run", 1, new_step(), NOW))
    await raised(StoreError, superseded.cancel_run("no such run", NOW))


async def a_superseded_engine_may_still_read(open_store: OpenStore) -> None:
    superseded, present = await open_store(), await open_store()
    await superseded.advance_epoch()
    run = await claimed(superseded)
    await checkpointed(superseded, run)
    await logged(superseded, run)
    await present.advance_epoch()
    assert await contents(superseded) == await contents(present)
    assert await superseded.get_run(run.id) == await again(present, run)


async def a_superseded_engine_stays_refused(open_store: OpenStore) -> None:
    superseded, present = await open_store(), await open_store()
    await superseded.advance_epoch()
    await present.advance_epoch()
    for _ in range(2):
        await raised(StoreError, superseded.enqueue(new_run(), NOW))
        await superseded.migrate()
    assert await present.get_runs(ALL) == []


async def who_advances_the_epoch_again_takes_over(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    await first.advance_epoch()
    await second.advance_epoch()
    await first.advance_epoch()
    await enqueued(first)
    await raised(StoreError, second.enqueue(new_run(), NOW))


async def engines_that_never_asked_for_an_epoch_are_not_fenced(open_store: OpenStore) -> None:
    outside, engine = await open_store(), await open_store()
    await engine.advance_epoch()
    run = await claimed(outside)
    await checkpointed(outside, run)
    assert await outside.complete_run(run.id, run.lease_generation, None, after(1))
    await enqueued(engine)


async def the_next_engine_takes_over_what_the_last_one_held(open_store: OpenStore) -> None:
    last, following = await open_store(), await open_store()
    run = await claimed(last, worker_id=f"lock-{await last.advance_epoch()}-a1b2")
    parse = await checkpointed(last, run, name="parse")
    epoch = await following.advance_epoch()
    got = await following.claim_next(f"lock-{epoch}-c3d4", after(1), LEASE_MS, epoch=epoch)
    assert got is not None and (got.id, got.lease_generation) == (run.id, 2)
    assert await following.get_steps(run.id) == [parse]
    await checkpointed(following, got, name="save", index=1)
    await raised(StoreError, last.persist_step(run.id, run.lease_generation, new_step("save", 1), after(2)))


async def _changes(store: Store) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """Every changing operation, each in a state where it would change something."""
    run: Run = await claimed(store)
    await checkpointed(store, run, name="parse")
    ended = await completed(store)
    pending = await enqueued(store)
    await cancelled(store, idempotency_key="known")
    on = (run.id, run.lease_generation)
    return {
        "enqueue": lambda: store.enqueue(new_run(), after(1)),
        "enqueue of a known key": lambda: store.enqueue(new_run(idempotency_key="known"), after(1)),
        "enqueue_many": lambda: store.enqueue_many([new_run(), new_run()], after(1)),
        "claim_next": lambda: store.claim_next("worker-2", after(1), LEASE_MS),
        "renew_lease": lambda: store.renew_lease(*on, after(1), LEASE_MS),
        "release_lease": lambda: store.release_lease(*on, after(1)),
        "release_expired_leases": lambda: store.release_expired_leases(after(86_400_000)),
        "persist_step": lambda: store.persist_step(*on, new_step("save", 1), after(1)),
        "persist_step of a known step": lambda: store.persist_step(*on, new_step("parse"), after(1)),
        "complete_run": lambda: store.complete_run(*on, "late", after(1)),
        "fail_run": lambda: store.fail_run(*on, RunError("late"), after(1)),
        "cancel_run": lambda: store.cancel_run(pending.id, after(1)),
        "record_crash": lambda: store.record_crash([run.id], "late", after(1)),
        "update_progress": lambda: store.update_progress(*on, Progress(1), after(1)),
        "delete_steps": lambda: store.delete_steps(run.id),
        "delete_run": lambda: store.delete_run(ended.id),
        "purge_runs": lambda: store.purge_runs(after(86_400_000), 100),
        "create_log": lambda: store.create_log(NewLog(run.id, None, "info", "late", created_at=after(1))),
    }
