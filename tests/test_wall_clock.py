"""A wall clock that is set back neither reverses what is stored nor holds anything up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from object_driver import FakeDatabase, FakeObjectDriver

from durably_wasm import Durably, Run, StepContext, create_durably, define_job
from durably_wasm.stores import MemoryStore, SqliteStore, Store
from durably_wasm.stores.indexeddb import IndexedDbStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import Engine, Settle

HOUR_MS = 3_600_000
OpenStore = Callable[[], Store]


@define_job("job")
async def job(step: StepContext, input: int) -> int:
    return await step.run("work", int, input)


class PlainClock:
    """A user's clock, which has a wall and no monotonic time."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    async def sleep(self, ms: int) -> None:
        await asyncio.Event().wait()


@pytest.fixture(params=["memory", "sqlite", "indexeddb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    memory, database = MemoryStore(), FakeDatabase()
    stores: dict[str, OpenStore] = {
        "memory": lambda: memory,
        "sqlite": lambda: SqliteStore(tmp_path / "runs.db"),
        "indexeddb": lambda: IndexedDbStore(FakeObjectDriver(database)),
    }
    return stores[request.param]


async def opened(store: Store, clock: Any) -> Durably:
    durably = create_durably(store, clock=clock, jobs={"job": job})
    await durably.migrate()
    return durably


def assert_in_order(listed: list[Run], triggered: list[str]) -> None:
    assert [run.id for run in reversed(listed)] == triggered == sorted(triggered)
    times = [run.created_at for run in reversed(listed)]
    assert times == sorted(times)


async def test_the_order_of_runs_stays_in_one_engine(open_store: OpenStore) -> None:
    for clock in (FakeClock(), PlainClock()):
        durably = await opened(open_store(), clock)
        known = len(await durably.get_runs())
        ids = []
        for back in (0, HOUR_MS, 1, HOUR_MS):
            if isinstance(clock, FakeClock):
                clock.advance(-back)
            else:
                clock.time -= timedelta(milliseconds=back)
            ids += [(await durably.jobs.job.trigger(n)).id for n in range(3)]
            ids += [run.id for run in await durably.jobs.job.batch_trigger([1, 2])]
        assert_in_order((await durably.get_runs())[: len(ids)], ids)
        assert len(await durably.get_runs()) == known + len(ids)
        await durably.store.close()


async def test_the_order_of_runs_stays_after_a_reload(open_store: OpenStore) -> None:
    ids = []
    clock = FakeClock()
    for back in (0, HOUR_MS, 0, HOUR_MS):
        clock.advance(-back)
        durably = await opened(open_store(), clock)
        ids += [(await durably.jobs.job.trigger(n)).id for n in range(3)]
        assert_in_order(await durably.get_runs(), ids)
        await durably.store.close()
    durably = await opened(open_store(), clock)
    done: list[int] = []
    durably.on("run:complete", lambda event: done.append(event.run_id))
    assert await durably.process_until_idle() == 12
    assert done == ids
    await durably.store.close()


async def test_the_order_of_runs_of_two_processes_stays(open_store: OpenStore) -> None:
    clock = FakeClock()
    engines = [await opened(open_store(), clock) for _ in range(2)]
    ids = []
    for engine, ms in [(0, 0), (1, 10), (0, 20), (1, -HOUR_MS), (0, 5), (1, 5), (0, -HOUR_MS), (1, 1), (0, 1)]:
        clock.advance(ms)
        ids.append((await engines[engine].jobs.job.trigger(1)).id)
    assert_in_order(await engines[0].get_runs(), ids)
    for durably in engines:
        await durably.store.close()


@pytest.mark.parametrize("clock", [FakeClock(), PlainClock()], ids=lambda clock: type(clock).__name__)
async def test_durations_are_not_negative(engine: Engine, clock: Any) -> None:
    def set_back() -> None:
        if isinstance(clock, FakeClock):
            clock.advance(40)
            clock.advance(-HOUR_MS)
        else:
            clock.time -= timedelta(hours=1)

    @define_job("slow")
    async def slow(step: StepContext) -> None:
        await step.run("back", set_back)
        await step.run("more", int)

    durably = create_durably(MemoryStore(), clock=clock, jobs={"slow": slow}, preserve_steps=True)
    durations: list[int] = []
    for type in ("step:complete", "run:complete"):
        durably.on(type, lambda event: durations.append(event.duration))
    triggered = await durably.jobs.slow.trigger()
    await durably.process_one()
    assert durations == ([40, 0, 40] if isinstance(clock, FakeClock) else [0, 0, 0])
    run = await durably.get_run(triggered.id)
    assert run is not None and run.started_at is not None and run.completed_at is not None
    assert run.created_at <= run.started_at <= run.completed_at
    assert all(step.started_at <= (step.completed_at or "") for step in await durably.get_steps(run.id))
    [end] = [event async for event in durably.subscribe(run.id)]
    assert end.duration >= 0  # type: ignore[attr-defined]


async def test_maintenance_goes_on(engine: Engine, settle: Settle, clock: FakeClock) -> None:
    durably = engine(job, retain_runs="24h")
    await durably.init()
    run = await durably.jobs.job.trigger(1)
    await settle()
    clock.set(clock.now() - timedelta(hours=1))
    for _ in range(26 * 60):
        clock.advance(60_000)
        await settle()
        if await durably.get_run(run.id) is None:
            break
    assert await durably.get_run(run.id) is None
    await durably.stop()


async def test_leases_are_renewed_and_runs_go_on(engine: Engine, settle: Settle, clock: FakeClock) -> None:
    gate = asyncio.Event()

    @define_job("held")
    async def held(step: StepContext) -> None:
        await step.run("wait", gate.wait)

    durably = engine(held, job, max_concurrent_runs=2)
    renewed: list[str] = []
    durably.on("run:lease-renewed", lambda event: renewed.append(event.lease_expires_at))
    await durably.init()
    run = await durably.jobs.held.trigger()
    await settle()
    clock.set(clock.now() - timedelta(hours=1))
    for _ in range(3):
        clock.advance(5_000)
        await settle()
    assert len(renewed) >= 3 and max(renewed[1:]) < "2026-01-01T00:00:00.000Z"
    other = await durably.jobs.job.trigger(1)
    await settle()
    ended = await durably.get_run(other.id)
    assert ended is not None and ended.status == "completed"
    gate.set()
    await settle()
    assert (await durably.wait_for_run(run.id)).status == "completed"
    await durably.stop()
