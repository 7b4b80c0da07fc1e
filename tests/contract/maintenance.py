"""Deleting and purging, opening and closing."""

from __future__ import annotations

from durably_wasm.models import Run
from durably_wasm.stores import Store

from .given import (
    ALL,
    ENDS,
    LEASE_MS,
    NOW,
    after,
    cancelled,
    checkpointed,
    claimed,
    completed,
    contents,
    enqueued,
    failed,
    logged,
    new_run,
)


async def deletes_a_run_with_all_that_belongs_to_it(store: Store) -> None:
    other = await _run_with_everything(store)
    before = await contents(store)
    run = await _run_with_everything(store)
    await store.delete_run(run.id)
    assert await store.get_run(run.id) is None
    assert await store.get_steps(run.id) == []
    assert await store.get_logs(run.id) == []
    assert await contents(store) == before
    assert len(await store.get_steps(other.id)) == len(await store.get_logs(other.id)) == 2


async def deletes_a_run_whatever_its_status(store: Store) -> None:
    runs = [await enqueued(store), *[await end(store) for end in ENDS.values()], await claimed(store)]
    for run in runs:
        await store.delete_run(run.id)
        assert await store.get_run(run.id) is None, run.status
    assert await store.get_runs(ALL) == []
    assert await store.claim_next("worker-2", after(86_400_000), LEASE_MS) is None


async def deleting_what_is_not_there_is_harmless(store: Store) -> None:
    run = await enqueued(store)
    await store.delete_run("no such run")
    await store.delete_run(run.id)
    await store.delete_run(run.id)
    assert await store.get_runs(ALL) == []


async def a_deleted_run_frees_its_idempotency_key(store: Store) -> None:
    run = await completed(store, idempotency_key="order-1", output="old")
    await store.delete_run(run.id)
    result = await store.enqueue(new_run(input="new", idempotency_key="order-1"), after(1))
    assert (result.disposition, result.run.input, result.run.output) == ("created", "new", None)
    assert result.run.id != run.id


async def a_deleted_run_frees_its_concurrency_key(store: Store) -> None:
    run = await enqueued(store, concurrency_key="shop-1")
    await store.delete_run(run.id)
    assert (await store.enqueue(new_run(concurrency_key="shop-1", coalesce="skip"), after(1))).disposition == "created"


async def purges_what_ended_before_a_time(store: Store) -> None:
    old = [await end(store, now=after(10)) for end in ENDS.values()]
    exactly = [await end(store, now=after(20)) for end in ENDS.values()]
    young = [await end(store, now=after(30)) for end in ENDS.values()]
    assert await store.purge_runs(after(20), 100) == len(old)
    assert {run.id for run in await store.get_runs(ALL)} == {run.id for run in exactly + young}
    assert await store.purge_runs(after(20), 100) == 0


async def purges_by_the_time_of_the_end(store: Store) -> None:
    long = await claimed(store, now=after(0))
    await completed(store, now=after(10))
    assert await store.complete_run(long.id, long.lease_generation, None, after(20))
    assert await store.purge_runs(after(15), 100) == 1
    assert [run.id for run in await store.get_runs(ALL)] == [long.id]


async def purges_the_oldest_first(store: Store) -> None:
    ends = {ms: (await completed(store, now=after(ms))).id for ms in (40, 10, 50, 20, 30)}
    for limit, left in ((2, (30, 40, 50)), (1, (40, 50)), (0, (40, 50)), (9, ())):
        await store.purge_runs(after(1_000), limit)
        assert {run.id for run in await store.get_runs(ALL)} == {ends[ms] for ms in left}, limit


async def purges_up_to_its_limit_and_counts(store: Store) -> None:
    for n in range(5):
        await failed(store, now=after(n))
    assert [await store.purge_runs(after(100), limit) for limit in (0, 2, 1, 9, 9)] == [0, 2, 1, 2, 0]


async def purges_only_runs_that_have_ended(store: Store) -> None:
    given_back = await claimed(store)
    assert await store.release_lease(given_back.id, given_back.lease_generation, NOW)
    kept = [await enqueued(store), await claimed(store), given_back]
    assert await store.purge_runs(after(86_400_000), 100) == 0
    assert {run.id for run in await store.get_runs(ALL)} == {run.id for run in kept}


async def purges_a_run_with_all_that_belongs_to_it(store: Store) -> None:
    run = await _run_with_everything(store)
    assert await store.purge_runs(after(1_000), 100) == 1
    assert await store.get_run(run.id) is None
    assert await store.get_steps(run.id) == []
    assert await store.get_logs(run.id) == []


async def a_purged_run_frees_its_idempotency_key(store: Store) -> None:
    await cancelled(store, idempotency_key="order-1")
    assert await store.purge_runs(after(1), 100) == 1
    assert (await store.enqueue(new_run(idempotency_key="order-1"), after(2))).disposition == "created"


async def migrating_again_is_harmless(store: Store) -> None:
    await _run_with_everything(store)
    before = await contents(store)
    await store.migrate()
    await store.migrate()
    assert await contents(store) == before
    await enqueued(store)


async def closing_twice_is_harmless(store: Store) -> None:
    await enqueued(store)
    await store.close()
    await store.close()


async def _run_with_everything(store: Store) -> Run:
    """An ended run with steps, logs, labels, an input and an output."""
    run = await claimed(store, input=[1], labels={"a": "b"})
    await checkpointed(store, run, name="parse", output=2)
    await checkpointed(store, run, name="save", index=1, status="failed", error="boom")
    await logged(store, run, "first")
    await logged(store, run, "second")
    assert await store.complete_run(run.id, run.lease_generation, [3], NOW, keep_steps=True)
    return run
