"""A run that is claimed again and again without completing a step fails, whatever ends its executions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import JobDefinition, StepContext, ValidationError, define_job
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Interrupt, Record, Settle

LEASE_MS = 30_000


class Stuck:
    """A job that completes as many steps in each execution as it is told, and then waits for ever."""

    def __init__(self, *steps: int) -> None:
        self.executions = 0
        self._steps = list(steps)
        self.job: JobDefinition[Any, Any] = define_job("stuck", input=None, output=None, run=self._run)

    async def _run(self, step: StepContext) -> None:
        self.executions += 1
        for number in range(sum(self._steps[: self.executions])):
            await step.run(f"step-{number}", lambda: None)
        await asyncio.Event().wait()


@define_job("other", input=None, output=str)
async def other(step: StepContext) -> str:
    return "done"


async def test_fails_after_twenty_claims(engine: Engine, record: Record, interrupt: Interrupt, at_once: AtOnce) -> None:
    stuck = Stuck()
    durably = engine(stuck.job)
    run = await durably.jobs.stuck.trigger(labels={"a": "b"})
    for _ in range(20):
        await interrupt(durably)
    events = record(durably)
    assert await at_once(durably.process_one()) and not await at_once(durably.process_one())
    failed = await durably.get_run(run.id)
    assert failed is not None and stuck.executions == 20
    assert (failed.status, failed.error_type) == ("failed", "NoProgress")
    assert failed.error == "no progress: it was claimed 20 times and completed no step in between"
    [event] = events
    assert event.type == "run:fail"
    assert (event.run_id, event.labels, event.error) == (run.id, {"a": "b"}, failed.error)


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_fails_after_as_many_claims_as_the_option_says(
    engine: Engine, interrupt: Interrupt, at_once: AtOnce, most: int
) -> None:
    stuck = Stuck()
    durably = engine(stuck.job, other, max_claims_without_progress=most)
    await durably.jobs.stuck.trigger()
    for _ in range(most):
        await interrupt(durably)
    await durably.jobs.other.trigger()
    assert await at_once(durably.process_until_idle()) == 2
    assert stuck.executions == most
    assert [run.status for run in await durably.get_runs()] == ["completed", "failed"]


async def test_none_is_no_limit(engine: Engine, interrupt: Interrupt) -> None:
    stuck = Stuck()
    durably = engine(stuck.job, max_claims_without_progress=None)
    await durably.jobs.stuck.trigger()
    for _ in range(50):
        await interrupt(durably)
    assert stuck.executions == 50


async def test_a_completed_step_begins_the_count_anew(engine: Engine, interrupt: Interrupt, at_once: AtOnce) -> None:
    stuck = Stuck(0, 0, 1, 0, 0, 2, 0)
    durably = engine(stuck.job, max_claims_without_progress=3)
    run = await durably.jobs.stuck.trigger()
    for _ in range(9):
        await interrupt(durably)
    assert await at_once(durably.process_one())
    failed = await durably.get_run(run.id)
    assert failed is not None and (failed.status, stuck.executions) == ("failed", 9)


async def test_its_key_is_free_then(engine: Engine, interrupt: Interrupt, settle: Settle) -> None:
    stuck = Stuck()
    durably = engine(stuck.job, other, max_claims_without_progress=1)
    await durably.jobs.stuck.trigger(concurrency_key="k")
    await interrupt(durably)
    waiting = await durably.jobs.other.trigger(concurrency_key="k")
    durably.start()
    await settle()
    assert (await durably.wait_for_run(waiting.id)).output == "done"
    await durably.stop()


async def test_it_is_suspected_of_no_death_any_more(engine: Engine, interrupt: Interrupt, settle: Settle) -> None:
    stuck = Stuck()
    durably = engine(stuck.job, max_claims_without_progress=1, max_concurrent_runs=2)
    run = await durably.jobs.stuck.trigger()
    await interrupt(durably)
    await durably.report_crash([run.id], "a trap")
    for _ in range(2):
        await durably.jobs.stuck.trigger()
    durably.start()
    await settle()
    assert stuck.executions == 1 + 2, "the two others are executed at the same time"
    for other_run in await durably.get_runs(status="leased"):
        await durably.cancel(other_run.id)
    await durably.stop()


@pytest.mark.parametrize("keep", [False, True])
async def test_its_steps_are_kept_where_steps_are(
    engine: Engine, interrupt: Interrupt, at_once: AtOnce, keep: bool
) -> None:
    stuck = Stuck(1)
    durably = engine(stuck.job, max_claims_without_progress=1, preserve_steps=keep)
    run = await durably.jobs.stuck.trigger()
    for _ in range(2):
        await interrupt(durably)
    assert await at_once(durably.process_one())
    assert len(await durably.get_steps(run.id)) == keep


async def test_an_expired_lease_counts_like_any_other(
    engine: Engine, store: MemoryStore, clock: FakeClock, at_once: AtOnce
) -> None:
    durably = engine(Stuck().job, max_claims_without_progress=3)
    run = await durably.jobs.stuck.trigger()
    for _ in range(3):
        assert await store.claim_next("gone", durably._environment.now(), LEASE_MS) is not None
        clock.advance(LEASE_MS)
    assert await at_once(durably.process_one())
    failed = await durably.get_run(run.id)
    assert failed is not None and failed.status == "failed"


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "20", True])
def test_the_option_is_a_number_of_claims(engine: Engine, wrong: Any) -> None:
    with pytest.raises(ValidationError, match="max_claims_without_progress must be an integer of at least 1"):
        engine(max_claims_without_progress=wrong)
