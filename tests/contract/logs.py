"""Log lines: kept in their order, beyond the steps and the run's end."""

from __future__ import annotations

from durably_wasm.models import Log, NewLog
from durably_wasm.stores import Store

from .epochs import OpenStore
from .given import CROWD, LATER, NOW, after, claimed, enqueued, leased, logged


async def stores_a_line_as_it_was_written(store: Store) -> None:
    run = await claimed(store)
    new = NewLog(run.id, "parse", "warn", "Row 3 is empty", data={"row": 3}, created_at=after(5))
    line = await store.create_log(new)
    assert line == Log(
        id=line.id,
        run_id=run.id,
        step_name="parse",
        level="warn",
        message="Row 3 is empty",
        data={"row": 3},
        created_at=after(5),
    )
    assert len(line.id) == 26
    assert await store.get_logs(run.id) == [line]


async def a_line_may_lie_between_steps_and_have_no_data(store: Store) -> None:
    run = await claimed(store)
    line = await store.create_log(NewLog(run.id, None, "info", "", created_at=NOW))
    assert (line.step_name, line.message, line.data) == (None, "", None)
    assert await store.get_logs(run.id) == [line]


async def keeps_each_level(store: Store) -> None:
    run = await claimed(store)
    lines = [
        await logged(store, run, level="info"),
        await logged(store, run, level="warn"),
        await logged(store, run, level="error"),
    ]
    assert [line.level for line in await store.get_logs(run.id)] == ["info", "warn", "error"]
    assert await store.get_logs(run.id) == lines


async def lists_lines_in_the_order_they_were_written(store: Store) -> None:
    run = await claimed(store)
    lines = [await logged(store, run, str(n)) for n in CROWD]
    assert await store.get_logs(run.id) == lines


async def keeps_the_order_when_the_clock_goes_back(store: Store) -> None:
    run = await claimed(store)
    lines = [await logged(store, run, now=now) for now in (after(1_000), NOW, after(500), after(2_000))]
    assert await store.get_logs(run.id) == lines


async def each_run_has_its_own_lines(store: Store) -> None:
    one, other = await claimed(store), await enqueued(store)
    first, second, third = await logged(store, one), await logged(store, other), await logged(store, one)
    assert await store.get_logs(one.id) == [first, third]
    assert await store.get_logs(other.id) == [second]
    assert await store.get_logs("no such run") == []


async def lines_of_several_holders_stand_together(store: Store) -> None:
    run = await claimed(store)
    first = await logged(store, run)
    await leased(store, run, now=LATER, worker_id="worker-2")
    second = await logged(store, run, now=LATER)
    assert await store.get_logs(run.id) == [first, second]


async def a_line_may_be_written_after_the_end(store: Store) -> None:
    run = await claimed(store)
    first = await logged(store, run)
    assert await store.complete_run(run.id, run.lease_generation, None, after(1))
    second = await logged(store, run, now=after(2))
    assert await store.get_logs(run.id) == [first, second]


async def lines_of_several_handles_keep_their_order_when_the_clock_goes_back(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    run = await claimed(first)
    lines = [await logged(store, run, now=after(-n)) for n in range(6) for store in (first, second)]
    assert await first.get_logs(run.id) == lines
    assert [line.created_at for line in lines] == [NOW] * 12
