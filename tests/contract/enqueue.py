"""Triggers: what is stored, and which run keys lead to."""

from __future__ import annotations

import asyncio

from durably_wasm.errors import ConflictError
from durably_wasm.models import Run
from durably_wasm.stores import Store

from .given import ALL, CROWD, ENDS, LATER, NOW, after, again, claimed, contents, enqueued, leased, new_run, raised


async def stores_a_pending_run_as_it_was_asked_for(store: Store) -> None:
    new = new_run("import", {"rows": 3}, idempotency_key="order-1", concurrency_key="shop-1", labels={"shop": "1"})
    result = await store.enqueue(new, NOW)
    assert result.disposition == "created"
    assert result.run == Run(
        id=result.run.id,
        job_name="import",
        input={"rows": 3},
        status="pending",
        idempotency_key="order-1",
        concurrency_key="shop-1",
        labels={"shop": "1"},
        created_at=NOW,
        updated_at=NOW,
    )


async def returns_a_new_run_as_it_is_stored(store: Store) -> None:
    run = await enqueued(store, input=[1, 2], idempotency_key="a", concurrency_key="b", labels={"c": "d"})
    assert await store.get_run(run.id) == run


async def gives_ids_that_are_ulids(store: Store) -> None:
    ids = [(await enqueued(store)).id for _ in range(3)]
    assert all(len(run_id) == 26 and set(run_id) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for run_id in ids)


async def gives_ids_that_sort_by_creation(store: Store) -> None:
    times = [NOW, NOW, NOW, after(1), after(1), after(2), after(1_000), after(86_400_000)]
    ids = [(await enqueued(store, now=now)).id for now in times]
    assert ids == sorted(set(ids))


async def gives_ids_that_sort_by_creation_when_the_clock_goes_back(store: Store) -> None:
    ids = [(await enqueued(store, now=now)).id for now in (after(1_000), NOW, after(500))]
    assert ids == sorted(set(ids))


async def stores_any_number_of_runs_without_keys(store: Store) -> None:
    ids = {(await enqueued(store, input="the same")).id for _ in range(5)}
    assert len(ids) == len(await store.get_runs(ALL)) == 5


async def a_known_idempotency_key_leads_to_its_run(store: Store) -> None:
    run = await enqueued(store, input="first", idempotency_key="order-1", labels={"attempt": "1"})
    new = new_run(input="second", idempotency_key="order-1", labels={"attempt": "2"})
    result = await store.enqueue(new, after(1_000))
    assert result.disposition == "idempotent"
    assert result.run == run
    assert await store.get_runs(ALL) == [run]


async def an_idempotency_key_leads_to_its_run_while_that_is_leased(store: Store) -> None:
    run = await claimed(store, idempotency_key="order-1")
    result = await store.enqueue(new_run(idempotency_key="order-1"), after(1))
    assert (result.disposition, result.run) == ("idempotent", run)


async def an_idempotency_key_leads_to_its_run_after_that_has_ended(store: Store) -> None:
    for status, end in ENDS.items():
        run = await end(store, input=status, idempotency_key=f"order-{status}")
        result = await store.enqueue(new_run(idempotency_key=f"order-{status}"), after(1))
        assert (result.disposition, result.run) == ("idempotent", run), status
        assert result.run.status == status


async def an_idempotency_key_brings_the_output_along(store: Store) -> None:
    run = await ENDS["completed"](store, idempotency_key="order-1", output={"count": 3})
    result = await store.enqueue(new_run(idempotency_key="order-1"), after(1))
    assert result.run.output == {"count": 3} == run.output


async def an_idempotency_key_belongs_to_one_job(store: Store) -> None:
    one = await enqueued(store, job_name="import", idempotency_key="order-1")
    other = await enqueued(store, job_name="export", idempotency_key="order-1")
    assert one.id != other.id


async def an_idempotency_key_wins_over_a_conflict(store: Store) -> None:
    run = await claimed(store, idempotency_key="order-1", concurrency_key="shop-1")
    await enqueued(store, concurrency_key="shop-1")
    result = await store.enqueue(new_run(idempotency_key="order-1", concurrency_key="shop-1"), after(1))
    assert (result.disposition, result.run) == ("idempotent", run)


async def an_idempotency_key_wins_over_coalescing(store: Store) -> None:
    run = await claimed(store, idempotency_key="order-1", concurrency_key="shop-1")
    await enqueued(store, concurrency_key="shop-1")
    new = new_run(idempotency_key="order-1", concurrency_key="shop-1", coalesce="skip")
    result = await store.enqueue(new, after(1))
    assert (result.disposition, result.run) == ("idempotent", run)


async def tells_similar_idempotency_keys_apart(store: Store) -> None:
    keys = ["a", "A", "a ", "a\x00", "a\x00b", "aa", "a/b", "ä", "a\u0308", "1", "01", "%", "_", "😀"]
    ids = {(await enqueued(store, idempotency_key=key)).id for key in keys}
    assert len(ids) == len(keys)
    for key in keys:
        result = await store.enqueue(new_run(idempotency_key=key), after(1))
        assert (result.disposition, result.run.idempotency_key) == ("idempotent", key), repr(key)


async def of_a_crowd_with_one_idempotency_key_one_creates_the_run(store: Store) -> None:
    new = new_run(idempotency_key="order-1")
    results = await asyncio.gather(*(store.enqueue(new, after(n)) for n in CROWD))
    assert len({result.run.id for result in results}) == 1
    assert sorted(result.disposition for result in results) == ["created"] + ["idempotent"] * (len(CROWD) - 1)


async def refuses_a_second_pending_run_with_the_same_concurrency_key(store: Store) -> None:
    run = await enqueued(store, concurrency_key="shop-1")
    error = await raised(ConflictError, store.enqueue(new_run(concurrency_key="shop-1"), after(1)))
    assert "shop-1" in str(error)
    assert await store.get_runs(ALL) == [run]


async def coalesces_with_the_pending_run_of_the_key(store: Store) -> None:
    run = await enqueued(store, input="first", concurrency_key="shop-1", labels={"attempt": "1"})
    new = new_run(input="second", concurrency_key="shop-1", coalesce="skip", labels={"attempt": "2"})
    result = await store.enqueue(new, after(1))
    assert result.disposition == "coalesced"
    assert result.run == run
    assert await store.get_runs(ALL) == [run]


async def coalescing_leaves_the_idempotency_key_unused(store: Store) -> None:
    run = await enqueued(store, concurrency_key="shop-1")
    new = new_run(idempotency_key="order-1", concurrency_key="shop-1", coalesce="skip")
    assert (await store.enqueue(new, after(1))).run.idempotency_key is None
    await leased(store, run)
    assert (await store.enqueue(new, after(2))).disposition == "created"


async def creates_a_run_where_there_is_nothing_to_coalesce_with(store: Store) -> None:
    result = await store.enqueue(new_run(concurrency_key="shop-1", coalesce="skip"), NOW)
    assert result.disposition == "created"


async def never_joins_a_leased_run(store: Store) -> None:
    running = await claimed(store, concurrency_key="shop-1")
    result = await store.enqueue(new_run(concurrency_key="shop-1", coalesce="skip"), after(1))
    assert result.disposition == "created"
    assert result.run.id != running.id
    assert await again(store, running) == running


async def never_joins_a_run_whose_lease_has_expired(store: Store) -> None:
    await claimed(store, concurrency_key="shop-1")
    result = await store.enqueue(new_run(concurrency_key="shop-1", coalesce="skip"), after(86_400_000))
    assert result.disposition == "created"


async def a_pending_run_behind_a_leased_one_holds_the_key(store: Store) -> None:
    await claimed(store, concurrency_key="shop-1")
    pending = await enqueued(store, concurrency_key="shop-1")
    await raised(ConflictError, store.enqueue(new_run(concurrency_key="shop-1"), after(1)))
    result = await store.enqueue(new_run(concurrency_key="shop-1", coalesce="skip"), after(1))
    assert (result.disposition, result.run) == ("coalesced", pending)


async def a_run_that_has_ended_does_not_stand_in_the_way(store: Store) -> None:
    for status, end in ENDS.items():
        await end(store, concurrency_key=status)
        result = await store.enqueue(new_run(concurrency_key=status, coalesce="skip"), after(1))
        assert result.disposition == "created", status


async def each_job_may_have_a_pending_run_with_the_key(store: Store) -> None:
    await enqueued(store, job_name="import", concurrency_key="shop-1")
    await enqueued(store, job_name="export", concurrency_key="shop-1")


async def tells_similar_concurrency_keys_apart(store: Store) -> None:
    keys = ["a", "A", "a ", "a\x00", "a\x00b", "aa", "ä", "1", "01", "%", "_", "😀"]
    for key in keys:
        await enqueued(store, concurrency_key=key)
    assert len(await store.get_runs(ALL)) == len(keys)
    for key in keys:
        result = await store.enqueue(new_run(concurrency_key=key, coalesce="skip"), after(1))
        assert (result.disposition, result.run.concurrency_key) == ("coalesced", key), repr(key)


async def of_a_crowd_with_one_concurrency_key_one_creates_the_run(store: Store) -> None:
    new = new_run(concurrency_key="shop-1", coalesce="skip")
    results = await asyncio.gather(*(store.enqueue(new, after(n)) for n in CROWD))
    assert len({result.run.id for result in results}) == 1
    assert sorted(result.disposition for result in results) == ["coalesced"] * (len(CROWD) - 1) + ["created"]


async def of_a_crowd_that_does_not_coalesce_all_but_one_conflict(store: Store) -> None:
    new = new_run(concurrency_key="shop-1")
    results = await asyncio.gather(*(store.enqueue(new, NOW) for _ in CROWD), return_exceptions=True)
    assert sum(isinstance(result, ConflictError) for result in results) == len(CROWD) - 1
    assert len(await store.get_runs(ALL)) == 1


async def stores_a_batch_in_its_order(store: Store) -> None:
    results = await store.enqueue_many([new_run(input=n) for n in range(10)], NOW)
    assert [result.run.input for result in results] == list(range(10))
    assert {result.disposition for result in results} == {"created"}
    ids = [result.run.id for result in results]
    assert ids == sorted(set(ids))
    assert [run.id for run in await store.get_runs(ALL)] == ids[::-1]


async def stores_nothing_of_an_empty_batch(store: Store) -> None:
    assert await store.enqueue_many([], NOW) == []
    assert await store.get_runs(ALL) == []


async def stores_none_of_a_batch_that_conflicts_with_a_stored_run(store: Store) -> None:
    await enqueued(store, concurrency_key="shop-1")
    before = await contents(store)
    batch = [new_run(), new_run(concurrency_key="shop-2"), new_run(concurrency_key="shop-1"), new_run()]
    await raised(ConflictError, store.enqueue_many(batch, after(1)))
    assert await contents(store) == before


async def stores_none_of_a_batch_that_conflicts_with_itself(store: Store) -> None:
    batch = [new_run(concurrency_key="shop-1"), new_run(), new_run(concurrency_key="shop-1")]
    await raised(ConflictError, store.enqueue_many(batch, NOW))
    assert await store.get_runs(ALL) == []


async def a_batch_that_failed_leaves_all_keys_free(store: Store) -> None:
    await enqueued(store, concurrency_key="taken")
    batch = [new_run(idempotency_key="order-1", concurrency_key="shop-1"), new_run(concurrency_key="taken")]
    await raised(ConflictError, store.enqueue_many(batch, after(1)))
    await enqueued(store, idempotency_key="order-1", concurrency_key="shop-1")


async def a_batch_that_failed_leaves_the_keys_of_earlier_runs_taken(store: Store) -> None:
    known = await enqueued(store, idempotency_key="order-1", concurrency_key="shop-1")
    batch = [
        new_run(idempotency_key="order-1"),
        new_run(concurrency_key="shop-1", coalesce="skip"),
        new_run(concurrency_key="shop-1"),
    ]
    await raised(ConflictError, store.enqueue_many(batch, after(1)))
    assert (await store.enqueue(new_run(idempotency_key="order-1"), after(2))).run == known
    await raised(ConflictError, store.enqueue(new_run(concurrency_key="shop-1"), after(2)))
    claim = await store.claim_next("worker-1", after(2), 1_000)
    assert claim is not None and claim.id == known.id


async def an_idempotency_key_holds_between_the_items_of_a_batch(store: Store) -> None:
    new = new_run(input="first", idempotency_key="order-1")
    again = new_run(input="second", idempotency_key="order-1")
    first, second = await store.enqueue_many([new, again], NOW)
    assert (first.disposition, second.disposition) == ("created", "idempotent")
    assert second.run == first.run
    assert await store.get_runs(ALL) == [first.run]


async def items_of_a_batch_coalesce_with_each_other(store: Store) -> None:
    batch = [new_run(input=n, concurrency_key="shop-1", coalesce="skip") for n in range(3)]
    results = await store.enqueue_many(batch, NOW)
    assert [result.disposition for result in results] == ["created", "coalesced", "coalesced"]
    assert [result.run for result in results] == [results[0].run] * 3
    assert results[0].run.input == 0


async def the_items_of_a_batch_are_enqueued_one_after_another(store: Store) -> None:
    pending = await enqueued(store, input="pending", concurrency_key="shop-1")
    known = await ENDS["completed"](store, input="known", idempotency_key="order-1", output="done")
    results = await store.enqueue_many(
        [
            new_run(concurrency_key="shop-1", coalesce="skip"),
            new_run(idempotency_key="order-1", concurrency_key="shop-1"),
            new_run(input="new", idempotency_key="order-2", concurrency_key="shop-2"),
            new_run(idempotency_key="order-2", concurrency_key="shop-1"),
            new_run(concurrency_key="shop-2", coalesce="skip"),
            new_run("export", "other job", idempotency_key="order-2", concurrency_key="shop-2"),
        ],
        after(1),
    )
    assert [result.disposition for result in results] == [
        "coalesced",
        "idempotent",
        "created",
        "idempotent",
        "coalesced",
        "created",
    ]
    assert [result.run.input for result in results] == ["pending", "known", "new", "new", "new", "other job"]
    assert results[0].run == pending
    assert results[1].run == known
    assert len(await store.get_runs(ALL)) == 4


async def finds_a_run_by_its_idempotency_key(store: Store) -> None:
    runs = [await enqueued(store, job_name=job, idempotency_key=key) for job in ("a", "b") for key in ("x", "xy")]
    for run in runs:
        assert run.idempotency_key is not None
        assert await store.get_run_by_idempotency_key(run.job_name, run.idempotency_key) == await again(store, run)
    assert await store.get_run_by_idempotency_key("a", "y") is None
    assert await store.get_run_by_idempotency_key("c", "x") is None
    assert await store.cancel_run(runs[0].id, LATER)
    found = await store.get_run_by_idempotency_key("a", "x")
    assert found is not None and found.status == "cancelled"
    await store.delete_run(runs[0].id)
    assert await store.get_run_by_idempotency_key("a", "x") is None
