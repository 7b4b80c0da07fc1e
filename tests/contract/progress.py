"""Progress: how far a run says it is."""

from __future__ import annotations

from dataclasses import replace

from durably_wasm.models import Progress
from durably_wasm.stores import Store

from .given import ALL, after, again, claimed, leased


async def a_new_run_has_no_progress(store: Store) -> None:
    assert (await claimed(store)).progress is None


async def stores_progress_and_leaves_the_lease_alone(store: Store) -> None:
    run = await claimed(store)
    assert await store.update_progress(run.id, run.lease_generation, Progress(3, 10, "Importing"), after(1)) is True
    expected = replace(run, progress=Progress(3, 10, "Importing"), updated_at=after(1))
    assert await again(store, run) == expected
    assert await store.get_runs(ALL) == [expected]


async def keeps_each_form_of_progress(store: Store) -> None:
    run = await claimed(store)
    for progress in (
        Progress(0),
        Progress(0, 0, ""),
        Progress(0.5, 1),
        Progress(2, None, "of an unknown number"),
        Progress(-1, 1_000_000_000_000, "ü 😀 \x00 \n"),
    ):
        assert await store.update_progress(run.id, run.lease_generation, progress, after(1))
        assert (await again(store, run)).progress == progress


async def progress_may_be_cleared(store: Store) -> None:
    run = await claimed(store)
    assert await store.update_progress(run.id, run.lease_generation, Progress(3, 10), after(1))
    assert await store.update_progress(run.id, run.lease_generation, None, after(2)) is True
    assert await again(store, run) == replace(run, updated_at=after(2))


async def progress_outlives_its_holder(store: Store) -> None:
    run = await claimed(store)
    assert await store.update_progress(run.id, run.lease_generation, Progress(3, 10), after(1))
    assert (await leased(store, run, now=after(60_000), worker_id="worker-2")).progress == Progress(3, 10)
