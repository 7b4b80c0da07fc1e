"""A job that swallows its cancellation keeps its slot for the grace, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import (
    Durably,
    Event,
    JobDefinition,
    Run,
    StepContext,
    ValidationError,
    define_job,
    with_log_persistence,
)
from durably_wasm.options import GRACE_MS
from durably_wasm.stores import MemoryStore

if TYPE_CHECKING:
    from conftest import Engine, Record, Settle

    from durably_wasm.testing import FakeClock

WAYS = ["the job", "a step", "a step that returns", "a shielded step", "a task", "a gather"]
_OFTEN = 20  # enough for the engine; a test that fails must come to an end
Make = Callable[[str], "Stubborn"]
LATER = "2026-01-01T01:00:00.000Z"  # when every lease has expired


class Stubborn:
    """A job that goes on whatever cancels it, until the test lets it end."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.release = asyncio.Event()
        self.late: list[object] = []
        self.running = 0

    async def hold(self) -> str:
        for _ in range(_OFTEN):
            try:
                await self.release.wait()
                break
            except BaseException:
                continue
        return "late"

    async def run(self, step: StepContext) -> str:
        self.running += 1
        try:
            await self._work(step)
        except BaseException as error:
            self.late.append(type(error).__name__)
        try:
            step.progress(1)
            step.log.info("late")
            await step.run("later", self.late.append, "called")
        except BaseException as error:
            self.late.append(type(error).__name__)
        self.running -= 1
        return "late"

    async def _work(self, step: StepContext) -> None:
        async def work() -> str:
            result = await self.hold()
            if self.way == "a step":
                raise ValueError("late")
            return result

        if self.way == "the job":
            await self.hold()
        elif self.way == "a shielded step":
            await self._insist(asyncio.ensure_future(step.run("work", self.hold)))
        elif self.way == "a task":
            await self._insist(asyncio.ensure_future(self.hold()))
        elif self.way == "a gather":
            await asyncio.gather(step.run("work", work), step.run("other", self.hold), return_exceptions=True)
        else:
            await step.run("work", work)

    async def _insist(self, task: asyncio.Task[str]) -> None:
        for _ in range(_OFTEN):
            try:
                await asyncio.shield(task)
                break
            except asyncio.CancelledError:
                continue

    @property
    def job(self) -> JobDefinition[Any, Any]:
        return job_of(self.run)


@pytest.fixture
async def stubborn_in() -> AsyncIterator[Make]:
    made: list[Stubborn] = []

    def make(way: str) -> Stubborn:
        made.append(Stubborn(way))
        return made[-1]

    yield make
    for stubborn in made:
        stubborn.release.set()


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_job_loses_its_slot_after_the_grace(
    engine: Engine, stubborn_in: Make, record: Record, settle: Settle, clock: FakeClock, way: str
) -> None:
    stubborn = stubborn_in(way)
    durably = engine(stubborn.job, quick())
    durably.use(with_log_persistence())
    events = record(durably)
    await durably.init()
    run = await durably.jobs.job.trigger()
    other = await durably.jobs.quick.trigger()
    await settle()
    await durably.cancel(run.id)
    clock.advance(GRACE_MS - 1)
    await settle()
    assert (await found(durably, other.id)).status == "pending"
    clock.advance(1)
    await settle()
    assert (await found(durably, other.id)).status == "completed"
    stopping = asyncio.create_task(durably.stop())
    await settle()
    assert stopping.done() and stubborn.running == 1
    before = [*events]
    running = [event.step_name for event in of_type(before, "step:start") if event.run_id == run.id]
    assert sorted(event.step_name for event in of_type(before, "step:cancel")) == sorted(running)
    stubborn.release.set()
    await settle()
    assert stubborn.running == 0
    assert stubborn.late[-1] == "RunCancelled"
    assert events == before
    ended = await found(durably, run.id)
    assert (ended.status, ended.progress) == ("cancelled", None)
    assert await durably.get_logs(run.id) == [] and await durably.get_steps(run.id) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_that_is_cancelled_gives_the_run_back_after_the_grace(
    engine: Engine, stubborn_in: Make, settle: Settle, clock: FakeClock, way: str
) -> None:
    stubborn = stubborn_in(way)
    durably = engine(stubborn.job)
    run = await durably.jobs.job.trigger()
    task = asyncio.create_task(durably.process_one())
    await settle()
    task.cancel()
    await settle()
    assert not task.done()
    clock.advance(GRACE_MS)
    await settle()
    assert task.cancelled()
    assert (await found(durably, run.id)).status == "pending"
    stubborn.release.set()
    await settle()
    assert stubborn.late[-1] == "LeaseLost"
    assert (await found(durably, run.id)).status == "pending"
    assert await durably.process_one()
    assert (await found(durably, run.id)).status == "completed"


async def test_its_writes_are_fenced_while_another_attempt_runs(
    engine: Engine, stubborn_in: Make, settle: Settle, clock: FakeClock
) -> None:
    stubborn = stubborn_in("a step that returns")
    durably = engine(stubborn.job)
    run = await durably.jobs.job.trigger()
    first = asyncio.create_task(durably.process_one())
    await settle()
    first.cancel()
    await settle()
    clock.advance(GRACE_MS)
    await settle()
    held, stubborn.release = stubborn.release, asyncio.Event()
    second = asyncio.create_task(durably.process_one())
    await settle()
    held.set()
    await settle()
    leased = await found(durably, run.id)
    assert (leased.status, leased.lease_generation, leased.completed_step_count) == ("leased", 2, 0)
    stubborn.release.set()
    await settle()
    assert second.done() and (await found(durably, run.id)).output == "late"


@pytest.mark.parametrize("how", ["a renewal", "handing over", "a lost store"])
async def test_every_stop_has_its_grace(
    engine: Engine, stubborn_in: Make, settle: Settle, clock: FakeClock, store: MemoryStore, how: str
) -> None:
    stubborn = stubborn_in("the job")
    durably = engine(stubborn.job, quick())
    await durably.init()
    run = await durably.jobs.job.trigger()
    await settle()
    if how == "handing over":
        waiting = asyncio.create_task(durably.hand_over())
        await settle()
    else:
        await store.claim_next("other", LATER, 30_000)
        clock.advance(5_000)  # to the renewal, which is refused
        await settle()
        waiting = asyncio.create_task(durably.stop())
        await settle()
    assert not waiting.done()
    clock.advance(GRACE_MS)
    await settle()
    assert waiting.done()
    assert (await found(durably, run.id)).status == ("pending" if how == "handing over" else "leased")
    stubborn.release.set()
    await settle()


@pytest.mark.parametrize(("grace_ms", "ms"), [(0, 0), (1, 1), (500, 500), (20_000, 20_000)])
async def test_the_grace_can_be_chosen(
    engine: Engine, stubborn_in: Make, settle: Settle, clock: FakeClock, grace_ms: int, ms: int
) -> None:
    stubborn = stubborn_in("the job")
    durably = engine(stubborn.job)
    run = await durably.jobs.job.trigger()
    task = asyncio.create_task(durably.process_one())
    await settle()
    await durably.cancel(run.id, grace_ms=grace_ms)
    if ms:
        clock.advance(ms - 1)
        await settle()
        assert not task.done()
        clock.advance(1)
    await settle()
    assert task.done()
    stubborn.release.set()
    await settle()


@pytest.mark.parametrize("grace_ms", [None, float("inf"), 10**15], ids=repr)
async def test_a_job_may_be_waited_for(
    engine: Engine, stubborn_in: Make, settle: Settle, clock: FakeClock, grace_ms: Any
) -> None:
    stubborn = stubborn_in("the job")
    durably = engine(stubborn.job)
    run = await durably.jobs.job.trigger()
    task = asyncio.create_task(durably.process_one())
    await settle()
    await durably.cancel(run.id, grace_ms=grace_ms)
    clock.advance(10**9)
    await settle()
    assert not task.done()
    stubborn.release.set()
    await settle()
    assert task.done()


@pytest.mark.parametrize("grace_ms", [-1, 0.5, float("nan"), "500", True, [1]], ids=repr)
async def test_another_grace_is_refused_and_nothing_cancelled(engine: Engine, grace_ms: Any) -> None:
    durably = engine(quick())
    run = await durably.jobs.quick.trigger()
    with pytest.raises(ValidationError, match=r"^grace_ms must be "):
        await durably.cancel(run.id, grace_ms=grace_ms)
    assert (await found(durably, run.id)).status == "pending"


@pytest.mark.parametrize("way", ["the job", "a step"])
async def test_a_job_that_cleans_up_in_time_is_not_abandoned(
    engine: Engine, settle: Settle, clock: FakeClock, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    async def clean_up(step: StepContext) -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await clock.sleep(1_000)
                log.append("cleaned")

        await (work() if way == "the job" else step.run("work", work))

    durably = engine(job_of(clean_up))
    abandoned: list[str] = []
    durably.on_abandoned(abandoned.append)
    run = await durably.jobs.job.trigger()
    task = asyncio.create_task(durably.process_one())
    await settle()
    await durably.cancel(run.id)
    await settle()
    clock.advance(1_000)
    await settle()
    assert task.done() and log == ["cleaned"] and abandoned == [] and caplog.records == []


async def test_an_abandoned_job_is_told_of(
    engine: Engine, stubborn_in: Make, settle: Settle, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = stubborn_in("the job")
    durably = engine(stubborn.job)
    abandoned: list[str] = []
    durably.on_abandoned(abandoned.append)
    run = await durably.jobs.job.trigger()
    task = asyncio.create_task(durably.process_one())
    await settle()
    await durably.cancel(run.id)
    clock.advance(GRACE_MS)
    await settle()
    assert await task and abandoned == [run.id]
    assert run.id in caplog.text and "swallowed its cancellation" in caplog.text
    stubborn.release.set()
    await settle()


async def test_a_step_that_the_job_left_behind_does_not_hold_its_end_up(
    engine: Engine, stubborn_in: Make, record: Record, settle: Settle, clock: FakeClock
) -> None:
    stubborn = stubborn_in("the job")
    tasks: list[asyncio.Future[str]] = []

    async def leave_behind(step: StepContext) -> str:
        tasks.append(asyncio.ensure_future(step.run("behind", stubborn.hold)))
        await asyncio.sleep(0)
        return "done"

    durably = engine(job_of(leave_behind))
    events = record(durably)
    run = await durably.jobs.job.trigger()
    task = asyncio.create_task(durably.process_one())
    await settle()
    assert not task.done()
    clock.advance(GRACE_MS)
    await settle()
    assert task.done()
    assert [event.type for event in events][-2:] == ["step:cancel", "run:complete"]
    stubborn.release.set()
    await settle()
    assert tasks[0].done() and [event.type for event in events][-1] == "run:complete"
    assert (await found(durably, run.id)).output == "done"


def quick() -> JobDefinition[Any, Any]:
    @define_job("quick")
    async def quick(step: StepContext) -> None: ...

    return quick


def job_of(function: Callable[[StepContext], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    return define_job("job", input=None, output=Any, run=function)


def of_type(events: list[Event], type: str) -> list[Any]:
    return [event for event in events if event.type == type]


async def found(durably: Durably, run_id: str) -> Run:
    run = await durably.get_run(run_id)
    assert run is not None
    return run
