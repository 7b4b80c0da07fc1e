"""One fault, or a short outage, at every single call of a run's life, before and after the call has been applied.

No run fails of it, no finished step is lost or runs twice, nothing spins, `worker:error` tells, and in the end all is
as it would have been.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from durably_wasm import ConflictError, Durably, Event, JobDefinition, Run, StepContext, StoreError, define_job
from durably_wasm.models import Progress
from durably_wasm.plugins import with_log_persistence
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock, FaultyStore

if TYPE_CHECKING:
    from conftest import Engine, Record, Settle

T = TypeVar("T")

CALLS = 10  # of each life without a fault, from `migrate` to the first look for further work
LIVES = ("completed", "failed", "cancelled", "resumed")
MOST_AT_ONCE = 16  # calls while the clock stands still
MOST_AT_ALL = 160  # a claim that was applied and raised is waited for, and polls go on meanwhile
LONG = 24  # calls that fail, one after another
TURN_MS = 500
TURNS = 600
TURNS_TO_STOP = 20


@dataclass
class Life:
    """What a run's life came to, beside what is stored."""

    store: FaultyStore
    inner: MemoryStore
    run: Run
    events: list[Event]
    executed: Counter[str]
    raised: int  # by calls of the user's own
    at_once: list[int] = field(default_factory=list)

    def of_type(self, *types: str) -> list[Any]:
        return [event for event in self.events if event.type in types]


def job_of(life: str, executed: Counter[str], entered: asyncio.Event, gate: asyncio.Event) -> JobDefinition[Any, Any]:
    """Make a job of two steps with a log line and progress between; its second step waits for the gate."""

    async def second() -> str:
        entered.set()
        await gate.wait()
        executed["two"] += 1
        return "two's"

    async def job(step: StepContext) -> str:
        one = await step.run("one", lambda: executed.update(["one"]) or "one's")  # type: ignore[func-returns-value]
        step.log.info("between")
        step.progress(1, 2, "half")
        two = await step.run("two", second)
        if life == "failed":
            raise ValueError("a job's own")
        return f"{one} and {two}"

    return define_job("job", input=None, output=Any, run=job)


class User:
    """Calls again what raised `StoreError`, as a user would."""

    def __init__(self) -> None:
        self.raised = 0

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        for _ in range(10):
            try:
                return await call()
            except StoreError:
                self.raised += 1
        raise AssertionError("the store never recovers")

    async def cancel(self, durably: Durably, run_id: str) -> None:
        try:
            await self.insist(lambda: durably.cancel(run_id))
        except ConflictError as error:
            assert self.raised and "cancelled" in str(error)  # the call that raised had been applied


@pytest.fixture
def live(
    engine: Engine, clock: FakeClock, settle: Settle, record: Record
) -> Callable[[str, list[int], bool], Awaitable[Life]]:
    """Live a run's life over a store that fails at some calls, until the run has ended."""

    async def live_it(life: str, faults: list[int], applied: bool) -> Life:
        inner, executed, user = MemoryStore(), Counter[str](), User()
        entered, gate = asyncio.Event(), asyncio.Event()
        store = FaultyStore(inner)
        job = job_of(life, executed, entered, gate)
        if life == "resumed":
            await begin(engine(job, store=inner, preserve_steps=True))
        if life != "cancelled":
            gate.set()
        durably = engine(job, store=store, preserve_steps=True).use(with_log_persistence())
        events = record(durably)
        for position in faults:
            store.fail_at(position, applied=applied)
        await user.insist(durably.init)
        triggered = await user.insist(lambda: durably.jobs["job"].trigger(idempotency_key="k"))
        at_once = []
        for _ in range(TURNS):
            before = len(store.calls)
            await settle()
            at_once.append(len(store.calls) - before)
            run = await inner.get_run(triggered.id)
            assert run is not None
            if life == "cancelled" and run.status == "leased" and entered.is_set():
                await user.cancel(durably, run.id)
            if run.completed_at is not None and is_told(events):
                break
            clock.advance(TURN_MS)
        stopping = asyncio.create_task(durably.stop())
        for _ in range(TURNS_TO_STOP):
            await settle()
            clock.advance(TURN_MS)
        assert stopping.done(), "the engine does not stop"
        ended = await inner.get_run(triggered.id)
        assert ended is not None
        return Life(store, inner, ended, events, executed, user.raised, at_once)

    async def begin(durably: Durably) -> None:
        """Trigger a run, finish its first step, and give it back in the middle of the second."""
        await durably.jobs["job"].trigger(idempotency_key="k")
        task = asyncio.create_task(durably.process_one())
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()

    return live_it


def is_told(events: list[Event]) -> bool:
    return any(event.type in ("run:complete", "run:fail", "run:cancel", "step:cancel") for event in events)


async def check_outcome(life: str, lived: Life) -> None:
    """All is as without a fault, but for one log line or the progress where that was what failed."""
    run, steps = lived.run, await lived.inner.get_steps(lived.run.id)
    completed = {
        "completed": ("completed", "one's and two's", None, 2),
        "resumed": ("completed", "one's and two's", None, 2),
        "failed": ("failed", None, "a job's own", 2),
        "cancelled": ("cancelled", None, None, 1),
    }
    assert (run.status, run.output, run.error, run.completed_step_count) == completed[life]
    names = ["one"] if life == "cancelled" else ["one", "two"]
    assert [(step.name, step.index, step.status, step.output) for step in steps] == [
        (name, index, "completed", f"{name}'s") for index, name in enumerate(names)
    ]
    assert lived.executed == Counter(names)
    checkpoints = [event.step_name for event in lived.of_type("step:complete")]
    assert checkpoints == (["two"] if life == "resumed" else names)
    ends = [event.type for event in lived.of_type("run:complete", "run:fail", "run:cancel")]
    if life == "cancelled":
        assert ends in (["run:cancel"], [] if lived.raised else ["run:cancel"])
    else:
        assert ends == ["run:fail" if life == "failed" else "run:complete"]
    assert lived.of_type("step:fail") == []


async def check_what_was_told(lived: Life, failed: list[str], applied: bool) -> None:
    logs = [log.message for log in await lived.inner.get_logs(lived.run.id)]
    assert logs == ([] if "create_log" in failed and not applied else ["between"])
    if "update_progress" not in failed or applied:
        assert lived.run.progress == Progress(1, 2, "half")
    refused = f"Run {lived.run.id} was cancelled"  # what a renewal says when the cancellation itself was not heard of
    errors = [event for event in lived.of_type("worker:error") if event.error != refused]
    assert len(errors) + lived.raised >= 1, "nobody was told"
    assert len(errors) <= len(failed), "an outage was told more than once"
    assert all(f"failed {'after' if applied else 'before'}" in error.error for error in errors)


class TestLife:
    @pytest.mark.parametrize("life", LIVES)
    async def test_without_a_fault_has_that_many_calls(
        self, live: Callable[[str, list[int], bool], Awaitable[Life]], life: str
    ) -> None:
        lived = await live(life, [], False)
        await check_outcome(life, lived)
        assert lived.of_type("worker:error") == [] and lived.raised == 0
        assert len(lived.store.calls) == CALLS, lived.store.calls

    @pytest.mark.parametrize("calls", [1, 3])
    @pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("position", range(1, CALLS + 1))
    @pytest.mark.parametrize("life", LIVES)
    async def test_survives_a_fault_anywhere(
        self,
        live: Callable[[str, list[int], bool], Awaitable[Life]],
        life: str,
        position: int,
        applied: bool,
        calls: int,
    ) -> None:
        faults = list(range(position, position + calls))
        lived = await live(life, faults, applied)
        failed = [lived.store.calls[place - 1] for place in faults if place <= len(lived.store.calls)]
        assert failed, "the fault is behind the end"
        await check_outcome(life, lived)
        await check_what_was_told(lived, failed, applied)
        assert max(lived.at_once) <= MOST_AT_ONCE, "it spins"
        assert len(lived.store.calls) <= MOST_AT_ALL, "it spins"

    @pytest.mark.parametrize("position", range(3, CALLS + 1))
    async def test_goes_on_after_a_long_outage_and_does_not_spin_meanwhile(
        self, live: Callable[[str, list[int], bool], Awaitable[Life]], position: int
    ) -> None:
        lived = await live("completed", list(range(position, position + LONG)), False)
        assert max(lived.at_once) <= MOST_AT_ONCE, "it spins"
        assert (lived.run.status, lived.run.completed_step_count) == ("completed", 2)
        assert [event.step_name for event in lived.of_type("step:complete")] == ["one", "two"]
        assert lived.of_type("run:fail", "step:fail") == []
