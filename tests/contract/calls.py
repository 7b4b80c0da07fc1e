"""Calls of the page, which may come twice: the second time nothing is changed, and the first outcome is given again."""

from __future__ import annotations

from durably_wasm.errors import ConflictError
from durably_wasm.stores import Store
from durably_wasm.stores.calls import ENQUEUED

from .given import (
    ALL,
    LEASE_MS,
    NOW,
    after,
    again,
    checkpointed,
    claimed,
    completed,
    contents,
    enqueued,
    logged,
    new_run,
    raised,
)


async def a_repeated_trigger_gives_the_run_as_it_was_then(store: Store) -> None:
    new = new_run("import", {"rows": 1.0}, labels={"shop": "1"}, idempotency_key="a", concurrency_key="b")
    first = await store.enqueue(new, NOW, call_id="call-1")
    run = await store.claim_next("worker-1", after(1), LEASE_MS)
    assert run is not None and run.id == first.run.id
    before = await contents(store)
    second = await store.enqueue(new, after(2), call_id="call-1")
    assert (second.run, second.disposition) == (first.run, "created")
    assert (first.is_repeated, second.is_repeated) == (False, True)
    assert await contents(store) == before


async def a_repeated_batch_gives_all_its_runs(store: Store) -> None:
    pending = await enqueued(store, job_name="mail", concurrency_key="k")
    news = [new_run("import"), new_run("mail", concurrency_key="k", coalesce="skip"), new_run("import")]
    first = await store.enqueue_many(news, NOW, call_id="call-1")
    second = await store.enqueue_many(news, after(1), call_id="call-1")
    assert [(result.run, result.disposition) for result in second] == [
        (result.run, result.disposition) for result in first
    ]
    assert second[1].run == pending
    assert all(result.is_repeated for result in second)
    assert len(await store.get_runs(ALL)) == 3


async def a_call_of_another_id_is_another_call(store: Store) -> None:
    first = await store.enqueue(new_run(), NOW, call_id="call-1")
    second = await store.enqueue(new_run(), NOW, call_id="call-2")
    third = await store.enqueue(new_run(), NOW)
    assert len({first.run.id, second.run.id, third.run.id}) == 3


async def a_call_that_was_refused_was_not_applied(store: Store) -> None:
    pending = await enqueued(store, concurrency_key="k")
    await raised(ConflictError, store.enqueue(new_run(concurrency_key="k"), NOW, call_id="call-1"))
    assert await store.cancel_run(pending.id, NOW)
    result = await store.enqueue(new_run(concurrency_key="k"), after(1), call_id="call-1")
    assert result.disposition == "created"


async def a_repeated_cancel_is_told_of_the_first(store: Store) -> None:
    run = await enqueued(store)
    assert await store.cancel_run(run.id, NOW, call_id="call-1")
    cancelled = await again(store, run)
    assert await store.cancel_run(run.id, after(1), call_id="call-1")
    assert not await store.cancel_run(run.id, after(1), call_id="call-2")
    assert not await store.cancel_run(run.id, after(1), call_id="call-2")
    assert await again(store, run) == cancelled


async def a_repeated_delete_deletes_nothing_else(store: Store) -> None:
    run, other = await completed(store), await completed(store)
    await logged(store, run)
    await store.delete_run(run.id, call_id="call-1")
    await store.delete_run(other.id, call_id="call-1")
    assert await store.get_runs(ALL) == [other]


async def a_repeated_purge_purges_nothing_more(store: Store) -> None:
    for _ in range(3):
        await completed(store)
    later = after(86_400_000)
    assert await store.purge_runs(later, 2, call_id="call-1") == 2
    assert await store.purge_runs(later, 2, call_id="call-1") == 2
    assert len(await store.get_runs(ALL)) == 1
    assert await store.purge_runs(later, 2, call_id="call-2") == 1
    assert await store.purge_runs(later, 0, call_id="call-3") == 0


async def tells_what_a_call_has_come_to(store: Store) -> None:
    result = await store.enqueue(new_run(), NOW, call_id="call-1")
    outcome = await store.get_call("call-1")
    assert outcome is not None
    assert ENQUEUED.read(outcome) == [result]
    assert await store.get_call("call-2") is None


async def calls_are_known_until_they_are_forgotten(store: Store) -> None:
    kept = await store.enqueue(new_run(), NOW, call_id="kept")
    gone = await store.enqueue(new_run(), NOW, call_id="gone")
    run = await claimed(store, job_name="other")
    await checkpointed(store, run)
    before = await contents(store)
    assert sorted(await store.get_call_ids()) == ["gone", "kept"]
    await store.forget_calls(["gone", "never heard of"])
    assert await store.get_call_ids() == ["kept"]
    assert await contents(store) == before
    assert (await store.enqueue(new_run(), after(1), call_id="kept")).run == kept.run
    assert (await store.enqueue(new_run(), after(1), call_id="gone")).run.id != gone.run.id
    await store.forget_calls(["kept", "gone"])
    assert await store.get_call_ids() == []
    assert (await store.enqueue(new_run(), after(2), call_id="kept")).run.id != kept.run.id
