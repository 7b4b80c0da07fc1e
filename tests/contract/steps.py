"""Checkpoints: what a finished step leaves behind, and that it never changes again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from durably_wasm.models import Step
from durably_wasm.stores import Store

from .given import CROWD, LATER, LEASE_MS, NOW, after, again, checkpointed, claimed, leased, logged, new_step


async def stores_a_completed_step(store: Store) -> None:
    run = await claimed(store)
    new = new_step("parse", 0, output={"rows": 3}, started_at=after(5))
    step = await store.persist_step(run.id, run.lease_generation, new, after(10))
    assert step is not None
    assert step == Step(
        id=step.id,
        run_id=run.id,
        name="parse",
        index=0,
        status="completed",
        output={"rows": 3},
        error=None,
        started_at=after(5),
        completed_at=after(10),
    )
    assert await store.get_steps(run.id) == [step]


async def stores_a_failed_step_with_its_message(store: Store) -> None:
    run = await claimed(store)
    step = await checkpointed(store, run, name="parse", status="failed", error="no such file")
    assert (step.status, step.output, step.error) == ("failed", None, "no such file")
    assert await store.get_steps(run.id) == [step]


async def a_checkpoint_counts_and_extends_the_lease(store: Store) -> None:
    run = await claimed(store)
    assert await store.persist_step(run.id, run.lease_generation, new_step(index=0), after(10), 5_000)
    expected = replace(
        run, current_step_index=1, completed_step_count=1, lease_expires_at=after(5_010), updated_at=after(10)
    )
    assert await again(store, run) == expected


async def a_checkpoint_extends_the_lease_by_half_a_minute_unless_told(store: Store) -> None:
    run = await claimed(store)
    assert await store.persist_step(run.id, run.lease_generation, new_step(), after(10))
    assert (await again(store, run)).lease_expires_at == after(30_010)


async def a_failed_step_does_not_count_and_extends_the_lease_too(store: Store) -> None:
    run = await claimed(store)
    await checkpointed(store, run, name="parse", index=2, status="failed", error="boom", now=after(10))
    expected = replace(run, lease_expires_at=after(30_010), updated_at=after(10))
    assert await again(store, run) == expected


async def only_a_completed_step_moves_the_current_index(store: Store) -> None:
    run = await claimed(store)
    for index, status, current in ((0, "completed", 1), (4, "failed", 1), (2, "completed", 3), (4, "failed", 3)):
        await checkpointed(store, run, name=f"step-{index}", index=index, status=status)
        assert (await again(store, run)).current_step_index == current
    await checkpointed(store, run, name="step-4", index=4)
    assert (await again(store, run)).current_step_index == 5


async def a_step_does_not_end_before_it_began(store: Store) -> None:
    run = await claimed(store)
    step = await checkpointed(store, run, started_at=after(5_000), now=after(1_000))
    assert (step.started_at, step.completed_at) == (after(5_000), after(5_000))
    assert await store.get_steps(run.id) == [step]


async def the_current_index_follows_the_highest_step(store: Store) -> None:
    run = await claimed(store)
    for index, current in ((0, 1), (4, 5), (2, 5), (5, 6), (1, 6)):
        await checkpointed(store, run, name=f"step-{index}", index=index)
        assert (await again(store, run)).current_step_index == current
    assert (await again(store, run)).completed_step_count == 5


async def lists_steps_by_index(store: Store) -> None:
    run = await claimed(store)
    for index in (3, 0, 10, 2, 1, 9):
        await checkpointed(store, run, name=f"{100 - index}", index=index)
    assert [step.index for step in await store.get_steps(run.id)] == [0, 1, 2, 3, 9, 10]


async def a_repeated_step_keeps_its_id(store: Store) -> None:
    run = await claimed(store)
    first = await checkpointed(store, run, index=3, status="failed", error="boom", now=after(1))
    second = await checkpointed(store, run, index=3, status="failed", error="bang", started_at=after(2), now=after(3))
    third = await checkpointed(store, run, index=3, output="rows", started_at=after(4), now=after(5))
    assert second == replace(first, error="bang", started_at=after(2), completed_at=after(3))
    assert third == replace(
        first, status="completed", output="rows", error=None, started_at=after(4), completed_at=after(5)
    )
    assert await store.get_steps(run.id) == [third]
    stored = await again(store, run)
    assert (stored.current_step_index, stored.completed_step_count) == (4, 1)


async def a_repeated_step_takes_the_index_it_is_given(store: Store) -> None:
    run = await claimed(store)
    first = await checkpointed(store, run, index=1, status="failed", error="boom")
    second = await checkpointed(store, run, index=2)
    assert (second.id, second.index) == (first.id, 2)
    assert (await again(store, run)).current_step_index == 3


async def a_completed_step_never_changes(store: Store) -> None:
    run = await claimed(store)
    step = await checkpointed(store, run, output="first", started_at=NOW, now=after(1))
    again_completed = new_step(index=7, output="second", started_at=after(2))
    again_failed = new_step(index=8, status="failed", error="boom", started_at=after(2))
    for repetition in (again_completed, again_failed):
        assert await store.persist_step(run.id, run.lease_generation, repetition, after(3)) == step
    assert await store.get_steps(run.id) == [step]
    stored = await again(store, run)
    assert (stored.current_step_index, stored.completed_step_count) == (1, 1)


async def a_completed_step_that_failed_before_never_changes(store: Store) -> None:
    run = await claimed(store)
    await checkpointed(store, run, status="failed", error="boom")
    step = await checkpointed(store, run, output="first")
    assert await checkpointed(store, run, output="second") == step
    assert (await again(store, run)).completed_step_count == 1


async def a_stale_holder_does_not_get_a_completed_step_back(store: Store) -> None:
    stale = await claimed(store)
    await checkpointed(store, stale, name="parse")
    await leased(store, stale, now=LATER, worker_id="worker-2")
    assert await store.persist_step(stale.id, stale.lease_generation, new_step("parse"), LATER) is None


async def steps_outlive_their_holder(store: Store) -> None:
    first_holder = await claimed(store)
    parse = await checkpointed(store, first_holder, name="parse", index=0)
    second_holder = await leased(store, first_holder, now=LATER, worker_id="worker-2")
    assert await store.get_steps(first_holder.id) == [parse]
    save = await checkpointed(store, second_holder, name="save", index=1, now=LATER)
    assert await store.get_steps(first_holder.id) == [parse, save]
    assert (await again(store, first_holder)).completed_step_count == 2


async def a_checkpoint_after_expiry_takes_the_lease_up_again(store: Store) -> None:
    run = await claimed(store)
    await checkpointed(store, run, now=LATER)
    assert await store.claim_next("worker-2", after(60_000 + LEASE_MS - 1), LEASE_MS) is None


async def tells_similar_names_of_steps_apart(store: Store) -> None:
    run = await claimed(store)
    names = ["a", "A", "a ", "a\x00", "a\x00b", "aa", "a/b", "", " ", "ä", "1", "01", "%", "_", "😀"]
    for index, name in enumerate(names):
        await checkpointed(store, run, name=name, index=index, output=index)
    assert [(step.name, step.output) for step in await store.get_steps(run.id)] == [
        (name, index) for index, name in enumerate(names)
    ]


async def each_run_has_its_own_steps(store: Store) -> None:
    one, other = await claimed(store), await claimed(store)
    first = await checkpointed(store, one, name="parse", output=1)
    second = await checkpointed(store, other, name="parse", output=2)
    assert first.id != second.id
    assert await store.get_steps(one.id) == [first]
    assert await store.get_steps(other.id) == [second]


async def has_no_steps_for_an_unknown_run(store: Store) -> None:
    await checkpointed(store, await claimed(store))
    assert await store.get_steps("no such run") == []


async def deletes_the_steps_of_one_run(store: Store) -> None:
    one, other = await claimed(store), await claimed(store)
    await checkpointed(store, one, name="parse")
    await checkpointed(store, one, name="save", index=1)
    kept = await checkpointed(store, other, name="parse")
    line = await logged(store, one)
    await store.delete_steps(one.id)
    assert await store.get_steps(one.id) == []
    assert await store.get_steps(other.id) == [kept]
    assert await store.get_logs(one.id) == [line]
    await store.delete_steps(one.id)
    await store.delete_steps("no such run")


async def parallel_steps_are_all_stored(store: Store) -> None:
    run = await claimed(store)
    await asyncio.gather(*(checkpointed(store, run, name=f"step-{n}", index=n, output=n) for n in CROWD))
    assert [step.output for step in await store.get_steps(run.id)] == list(CROWD)
    stored = await again(store, run)
    assert (stored.current_step_index, stored.completed_step_count) == (len(CROWD), len(CROWD))


async def of_parallel_checkpoints_of_one_step_the_first_is_kept(store: Store) -> None:
    run = await claimed(store)
    results = await asyncio.gather(*(checkpointed(store, run, name="parse", output=n) for n in CROWD))
    assert results == [results[0]] * len(CROWD)
    assert await store.get_steps(run.id) == results[:1]
    assert (await again(store, run)).completed_step_count == 1
