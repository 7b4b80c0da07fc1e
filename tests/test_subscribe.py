"""Following a run: first where it is now, then every event of it, until it has ended."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import Durably, Event, NotFoundError, Progress, StepContext, define_job
from durably_wasm.models import to_iso
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Settle

START = "2026-01-01T00:00:00.000Z"
LABELS = {"env": "live"}


@define_job("count")
async def count(step: StepContext, rows: int) -> int:
    if rows < 0:
        raise ValueError("fewer rows than none")
    step.progress(1, rows, "counting")
    await step.run("count", int)
    step.log.info("counted")
    return rows


class Follower:
    """What somebody who follows a run has been told so far."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self.heard: list[Any] = []
        self.task = asyncio.create_task(self._follow(events))

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.heard]

    async def _follow(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self.heard.append(event)


async def all_of(events: AsyncIterator[Event]) -> list[Any]:
    return [event async for event in events]


def queues() -> int:
    """Count the queues that anybody still holds: one for each that follows."""
    gc.collect()
    return sum(type(thing) is asyncio.Queue for thing in gc.get_objects())


class TestSnapshot:
    async def test_of_a_pending_run_is_nothing(self, engine: Engine, settle: Settle) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        follower = Follower(durably.subscribe(run.id))
        await settle()
        assert follower.heard == [] and not follower.task.done()
        await durably.cancel(run.id)
        await settle()
        assert follower.task.done()

    async def test_of_a_leased_run_is_its_lease(
        self, engine: Engine, store: MemoryStore, clock: FakeClock, settle: Settle
    ) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3, labels=LABELS)
        await store.claim_next("other", to_iso(clock.now()), 30_000)
        follower = Follower(durably.subscribe(run.id))
        await settle()
        [event] = follower.heard
        fields = asdict(event)
        assert fields.pop("timestamp") == START
        assert fields == {
            "type": "run:leased",
            "sequence": 0,
            "run_id": run.id,
            "job_name": "count",
            "labels": LABELS,
            "input": 3,
            "lease_owner": "other",
            "lease_expires_at": "2026-01-01T00:00:30.000Z",
        }
        await durably.cancel(run.id)
        await settle()
        assert follower.types == ["run:leased", "run:cancel"] and follower.task.done()

    async def test_of_a_leased_run_has_its_progress(
        self, engine: Engine, store: MemoryStore, clock: FakeClock, settle: Settle
    ) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3, labels=LABELS)
        await store.claim_next("other", to_iso(clock.now()), 30_000)
        await store.update_progress(run.id, 1, Progress(1, 3, "counting"), to_iso(clock.now()))
        follower = Follower(durably.subscribe(run.id))
        await settle()
        assert follower.types == ["run:leased", "run:progress"]
        progress = follower.heard[1]
        assert (progress.sequence, progress.progress, progress.labels) == (0, Progress(1, 3, "counting"), LABELS)
        await durably.cancel(run.id)
        await settle()

    async def test_of_a_completed_run_is_its_end(self, engine: Engine, at_once: AtOnce, clock: FakeClock) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3, labels=LABELS)
        await durably.process_one()
        clock.advance(5_000)
        [event] = await at_once(all_of(durably.subscribe(run.id)))
        assert asdict(event) == {
            "type": "run:complete",
            "timestamp": START,
            "sequence": 0,
            "run_id": run.id,
            "job_name": "count",
            "labels": LABELS,
            "output": 3,
            "duration": 0,
        }

    async def test_of_a_failed_run_is_its_end(self, engine: Engine, at_once: AtOnce) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(-1, labels=LABELS)
        await durably.process_one()
        [event] = await at_once(all_of(durably.subscribe(run.id)))
        assert (event.type, event.sequence, event.timestamp, event.run_id, event.labels) == (
            "run:fail",
            0,
            START,
            run.id,
            LABELS,
        )
        assert (event.error, event.failed_step_name) == ("fewer rows than none", "unknown")

    async def test_of_a_cancelled_run_is_its_end(self, engine: Engine, at_once: AtOnce) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3, labels=LABELS)
        await durably.cancel(run.id)
        [event] = await at_once(all_of(durably.subscribe(run.id)))
        assert (event.type, event.sequence, event.timestamp, event.labels) == ("run:cancel", 0, START, LABELS)


class TestLiveEvents:
    async def test_are_all_of_the_run_but_trigger_and_coalesced(self, engine: Engine, settle: Settle) -> None:
        durably = engine(count)
        told: list[Event] = []
        durably.on("*", told.append)
        run = await durably.jobs["count"].trigger(3, concurrency_key="k")
        follower = Follower(durably.subscribe(run.id))
        await settle()
        await durably.jobs["count"].trigger(4, concurrency_key="k", coalesce="skip")
        other = await durably.jobs["count"].trigger(5)
        assert await durably.process_until_idle() == 2
        await settle()
        assert sorted(follower.types) == sorted(
            ["run:leased", "run:progress", "step:start", "step:complete", "log:write", "run:complete"]
        )
        unheard = ("run:trigger", "run:coalesced")
        assert follower.heard == [
            event for event in told if getattr(event, "run_id", other.id) == run.id and event.type not in unheard
        ]
        assert follower.task.done() and all(event.sequence > 0 for event in follower.heard)

    @pytest.mark.parametrize("rows", [3, -1])
    async def test_end_with_the_run(self, engine: Engine, settle: Settle, rows: int) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(rows)
        followers = [Follower(durably.subscribe(run.id)) for _ in range(2)]
        await settle()
        await durably.process_one()
        await settle()
        for follower in followers:
            assert follower.task.done()
            assert follower.types[-1] == ("run:complete" if rows > 0 else "run:fail")
            assert follower.heard[-1].sequence > 0

    async def test_are_not_lost_while_the_follower_is_busy(self, engine: Engine, at_once: AtOnce) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        events = durably.subscribe(run.id)
        first = asyncio.create_task(anext(events))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await durably.process_one()
        assert (await first).type == "run:leased"
        rest = await at_once(all_of(events))
        assert rest[0].type == "run:progress" and rest[-1].type == "run:complete"

    async def test_end_when_the_run_is_deleted(self, engine: Engine, settle: Settle, intercept: Intercept) -> None:
        """The end and the deletion come together; the end is heard first, and is the last that is heard."""
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        follower = Follower(durably.subscribe(run.id))
        await settle()
        await durably.process_one()
        await durably.delete_run(run.id)
        await settle()
        assert follower.task.done() and follower.types[-1] == "run:complete"

    async def test_are_not_kept_for_those_who_leave(self, engine: Engine, settle: Settle) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        before = queues()
        follower = Follower(durably.subscribe(run.id))
        await settle()
        assert queues() == before + 1
        follower.task.cancel()
        await settle()
        await durably.process_one()
        assert follower.task.cancelled() and follower.heard == []
        del follower
        assert queues() == before


class TestUnknownRun:
    async def test_raises_at_the_first_iteration(self, engine: Engine, at_once: AtOnce) -> None:
        events = engine(count).subscribe("no-such-run")
        with pytest.raises(NotFoundError, match="no-such-run"):
            await at_once(all_of(events))

    async def test_raises_for_a_deleted_one(self, engine: Engine, at_once: AtOnce) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        await durably.process_one()
        await durably.delete_run(run.id)
        with pytest.raises(NotFoundError, match=run.id):
            await at_once(all_of(durably.subscribe(run.id)))


class TestAnotherEngine:
    @pytest.fixture
    def engines(self, engine: Engine) -> tuple[Durably, Durably]:
        """Two on one store, of which the first looks every two seconds."""
        return engine(count, polling_interval_ms=2_000), engine(count)

    @pytest.mark.parametrize(("rows", "end"), [(3, "run:complete"), (-1, "run:fail")])
    async def test_is_found_out_by_looking(
        self, engines: tuple[Durably, Durably], settle: Settle, clock: FakeClock, rows: int, end: str
    ) -> None:
        here, there = engines
        run = await here.jobs["count"].trigger(rows, labels=LABELS)
        follower = Follower(here.subscribe(run.id))
        await settle()
        clock.advance(100)
        await there.process_one()
        clock.advance(1_899)
        await settle()
        assert follower.heard == []
        clock.advance(1)
        await settle()
        [event] = follower.heard
        assert (event.type, event.run_id, event.job_name, event.labels) == (end, run.id, "count", LABELS)
        assert event.timestamp == "2026-01-01T00:00:00.100Z"
        assert follower.task.done()

    async def test_cancels(self, engines: tuple[Durably, Durably], settle: Settle, clock: FakeClock) -> None:
        here, there = engines
        run = await here.jobs["count"].trigger(3)
        follower = Follower(here.subscribe(run.id))
        await settle()
        await there.cancel(run.id)
        clock.advance(2_000)
        await settle()
        assert follower.types == ["run:cancel"] and follower.task.done()

    async def test_deletes(self, engines: tuple[Durably, Durably], settle: Settle, clock: FakeClock) -> None:
        here, there = engines
        run = await here.jobs["count"].trigger(3, labels=LABELS)
        follower = Follower(here.subscribe(run.id))
        await settle()
        await there.process_one()
        await there.delete_run(run.id)
        clock.advance(2_000)
        await settle()
        [event] = follower.heard
        assert (event.type, event.run_id) == ("run:delete", run.id) and follower.task.done()
        assert (event.job_name, event.labels) == ("count", LABELS)
        assert event.timestamp == "2026-01-01T00:00:02.000Z"
