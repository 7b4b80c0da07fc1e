"""An engine that hands over finishes the steps that are running, and another goes on at the next ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from durably_wasm import Event, Run, StepContext, define_job
from durably_wasm.stores import MemoryStore

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Record, Settle


class Gated:
    """A job of three steps, each of which waits for a gate that the test opens."""

    def __init__(self, name: str) -> None:
        self.gates = [asyncio.Event() for _ in range(3)]
        self.ran: list[int] = []
        self.job = define_job(name, input=None, output=Any, run=self._run)

    async def _run(self, step: StepContext) -> int:
        return sum([await step.run(f"step-{number}", self._work, number) for number in range(3)])

    async def _work(self, number: int) -> int:
        self.ran.append(number)
        await self.gates[number].wait()
        return number


async def test_waits_for_the_step_and_gives_the_run_to_the_next_engine(
    engine: Engine, store: MemoryStore, record: Record, settle: Settle, at_once: AtOnce
) -> None:
    gated = Gated("gated")
    old = engine(gated.job)
    events = record(old)
    await old.init()
    run = await old.jobs.gated.trigger()
    await settle()
    handing_over = asyncio.create_task(old.hand_over())
    await settle()
    assert not handing_over.done() and gated.ran == [0]
    gated.gates[0].set()
    await at_once(ended(handing_over))
    assert types(events)[-2:] == ["step:start", "step:complete"]
    assert await status(store, run) == ("pending", 1)

    for gate in gated.gates:
        gate.set()
    new = engine(gated.job)
    await at_once(new.process_one())
    assert gated.ran == [0, 1, 2]
    assert await status(store, run) == ("completed", 2)


async def test_stops_at_once_what_waits_outside_of_a_step(
    engine: Engine, store: MemoryStore, settle: Settle, at_once: AtOnce
) -> None:
    @define_job("idle")
    async def idle(step: StepContext) -> None:
        await asyncio.Event().wait()

    durably = engine(idle)
    await durably.init()
    run = await durably.jobs.idle.trigger()
    await settle()
    await at_once(durably.hand_over())
    assert await status(store, run) == ("pending", 1)


async def test_holds_the_other_slots_runs_and_claims_no_more(
    engine: Engine, store: MemoryStore, settle: Settle, at_once: AtOnce
) -> None:
    slow, quick, other = Gated("slow"), Gated("quick"), Gated("other")
    durably = engine(slow.job, quick.job, other.job, max_concurrent_runs=2)
    await durably.init()
    runs = [await durably.jobs[name].trigger() for name in ("slow", "quick", "other")]
    await settle()
    handing_over = asyncio.create_task(durably.hand_over())
    await settle()
    for gate in quick.gates:
        gate.set()
    await settle()
    assert not handing_over.done() and quick.ran == [0]
    slow.gates[0].set()
    await at_once(ended(handing_over))
    assert (slow.ran, quick.ran, other.ran) == ([0], [0], [])
    assert [await status(store, run) for run in runs] == [("pending", 1), ("pending", 1), ("pending", 0)]


async def test_begins_no_step_of_a_run_that_was_being_claimed(
    engine: Engine, intercept: Intercept, settle: Settle, at_once: AtOnce
) -> None:
    slow, late = Gated("slow"), Gated("late")
    claiming = asyncio.Event()
    store = intercept(MemoryStore())
    durably = engine(slow.job, late.job, store=store, max_concurrent_runs=2)
    await durably.init()
    await durably.jobs.slow.trigger()
    await settle()
    store.before("claim_next", claiming.wait)
    run = await durably.jobs.late.trigger()
    await settle()
    handing_over = asyncio.create_task(durably.hand_over())
    await settle()
    claiming.set()
    await settle()
    slow.gates[0].set()
    await at_once(ended(handing_over))
    found = await durably.get_run(run.id)
    assert found is not None and (found.status, late.ran) == ("pending", [])


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def status(store: MemoryStore, run: Run) -> tuple[str, int]:
    found = await store.get_run(run.id)
    assert found is not None
    return found.status, found.lease_generation


async def ended(task: asyncio.Task[None]) -> None:
    await task
