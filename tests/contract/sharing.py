"""One database, opened more than once: other tabs, other processes, and the next start."""

from __future__ import annotations

import asyncio

from durably_wasm.errors import ConflictError

from .epochs import OpenStore
from .given import (
    ALL,
    CROWD,
    LATER,
    LEASE_MS,
    after,
    again,
    checkpointed,
    claimed,
    completed,
    contents,
    enqueued,
    leased,
    logged,
    new_run,
    raised,
    refuses_all_writes,
)


async def what_one_handle_wrote_the_other_reads(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    run = await claimed(one, input={"a": 1.0}, labels={"b": "c"})
    await checkpointed(one, run, output=[2**60])
    await logged(one, run)
    await completed(one, output="done")
    assert len(await contents(other)) == 2
    assert await contents(other) == await contents(one)


async def what_is_stored_survives_closing(open_store: OpenStore) -> None:
    first = await open_store()
    run = await claimed(first, input="kept", idempotency_key="order-1", concurrency_key="shop-1")
    await checkpointed(first, run, output="kept")
    await completed(first, output="kept")
    before = await contents(first)
    await first.close()
    second = await open_store()
    assert await contents(second) == before
    known = await second.enqueue(new_run(idempotency_key="order-1"), after(1))
    assert (known.disposition, known.run) == ("idempotent", await again(second, run))
    await leased(second, run, now=LATER, worker_id="worker-2")


async def a_handle_may_be_closed_and_opened_again(open_store: OpenStore) -> None:
    store = await open_store()
    run = await enqueued(store)
    await store.close()
    await store.migrate()
    assert await store.get_runs(ALL) == [run]
    await claimed(store)


async def closing_one_handle_leaves_the_other_open(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    run = await enqueued(one)
    await one.close()
    assert await again(other, run) == run
    await claimed(other)


async def handles_that_claim_at_once_get_distinct_runs(open_store: OpenStore) -> None:
    stores = [await open_store() for _ in range(3)]
    runs = [await enqueued(stores[0], now=after(n)) for n in CROWD]
    claims = await asyncio.gather(
        *(stores[n % 3].claim_next(f"worker-{n}", after(100), LEASE_MS) for n in range(len(CROWD) + 5))
    )
    assert sorted(run.id for run in claims if run) == [run.id for run in runs]


async def keys_hold_between_handles(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    known = await enqueued(one, idempotency_key="order-1")
    assert (await other.enqueue(new_run(idempotency_key="order-1"), after(1))).run == known
    await enqueued(one, concurrency_key="shop-1")
    await raised(ConflictError, other.enqueue(new_run(concurrency_key="shop-1"), after(1)))
    running = await claimed(one, concurrency_key="shop-2")
    waiting = await enqueued(other, concurrency_key="shop-2")
    assert await other.claim_next("worker-2", after(1), LEASE_MS, exclude=[known.id], jobs=["import"]) is not None
    assert (await again(one, waiting)).status == "pending", "shop-2 is held by the other handle's run"
    assert (await again(other, running)).status == "leased"


async def a_run_taken_over_by_another_handle_refuses_the_first(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    run = await claimed(one)
    await leased(other, run, now=LATER, worker_id="worker-2")
    await refuses_all_writes(one, run.id, run.lease_generation)


async def a_run_cancelled_by_another_handle_refuses_the_first(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    run = await claimed(one)
    assert await other.cancel_run(run.id, after(1))
    await refuses_all_writes(one, run.id, run.lease_generation)
