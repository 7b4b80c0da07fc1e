"""Two engines on one store, that are triggered, cancelled, crashed and put to sleep at random: every run ends right.

What is right follows from a run's plan alone, whatever happened to the engines: the plan is its input.
Run it long with ``HYPOTHESIS_PROFILE=thorough``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from test_store_model import NO_TIMEOUT, PROFILE, SETTINGS, STORES

from durably_wasm import ConflictError, Durably, Event, Run, StepContext, StoreError, create_durably, define_job
from durably_wasm.models import TERMINAL, to_iso
from durably_wasm.stores import Store
from durably_wasm.testing import FakeClock

T = TypeVar("T")

EXAMPLES = 10_000 if PROFILE == "thorough" else 100
LEASE_MS = 30_000
SLOTS = 2
TURNS = 25  # of the event loop, until all wait for the clock
PLANS = st.lists(st.sampled_from(["slow", "slow", "parallel", "quick", "caught"]), max_size=4)
ENDS = st.sampled_from(["done", "done", "boom"])


class MortalStore:
    """A store that is cut off from its engine when the engine crashes, and that may fail to renew leases."""

    def __init__(self, store: Store) -> None:
        self.is_cut_off = False
        self.renews = True
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method = getattr(self._store, name)

        async def call(*args: object, **kwargs: object) -> object:
            if self.is_cut_off or (name == "renew_lease" and not self.renews):
                raise StoreError("the engine is dead")
            return await method(*args, **kwargs)

        return call


class Engines(RuleBasedStateMachine):
    """Two engines, a clock, and the users of both."""

    runs = Bundle("runs")

    def __init__(self, open_store: Callable[[], Store]) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.store = open_store()
        self.checkpoints: Counter[tuple[str, str]] = Counter()
        self.ends: Counter[str] = Counter()
        self.ended_as: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.gone: set[str] = set()
        self.known: set[str] = set()
        self.generations: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[bool]] = []
        self.job = define_job("work", input=dict[str, Any], output=Any, run=self.work)
        self.engines = [self.new_engine(), self.new_engine()]

    # --- The job ----------------------------------------------------------------------------------------------

    async def work(self, step: StepContext, input: dict[str, Any]) -> list[str]:
        outputs: list[str] = []
        for number, kind in enumerate(input["plan"]):
            name = f"{number}-{kind}"
            if kind == "parallel":
                parts = [step.run(f"{name}-{part}", self.sleep, step.run_id, f"{name}-{part}") for part in "ab"]
                outputs += await asyncio.gather(*parts)
            elif kind == "caught":
                try:
                    await step.run(f"{name}-fails", self.fail)
                except ValueError as error:
                    outputs.append(str(error))
            else:
                outputs.append(await step.run(name, self.sleep if kind == "slow" else self.note, step.run_id, name))
            step.progress(number)
        if input["end"] == "boom":
            raise ValueError("boom")
        return outputs

    def note(self, run_id: str, name: str) -> str:
        assert not self.checkpoints[run_id, name], "a step was executed after its checkpoint"
        return name

    async def sleep(self, run_id: str, name: str) -> str:
        self.note(run_id, name)
        await self.clock.sleep(700)
        return name

    def fail(self) -> None:
        raise ValueError("caught")

    @staticmethod
    def outputs_of(plan: list[str]) -> list[str]:
        outputs: list[str] = []
        for number, kind in enumerate(plan):
            names = {"parallel": [f"{number}-parallel-a", f"{number}-parallel-b"], "caught": ["caught"]}
            outputs += names.get(kind, [f"{number}-{kind}"])
        return outputs

    # --- What happens -----------------------------------------------------------------------------------------

    @initialize(target=runs, plans=st.lists(PLANS, min_size=1, max_size=3))
    def start(self, plans: list[list[str]]) -> MultipleResults[str]:
        """Both engines have something to do from the beginning."""
        self.do(self.store.migrate())
        ids = [self.trigger(0, plan, "done", None if number else "k") for number, plan in enumerate(plans)]
        self.process(0)
        self.process(1)
        return multiple(*ids)

    @rule(target=runs, engine=st.integers(0, 1), plan=PLANS, end=ENDS, key=st.sampled_from(["k", None]))
    def trigger_one(self, engine: int, plan: list[str], end: str, key: str | None) -> str | MultipleResults[str]:
        return self.trigger(engine, plan, end, key)

    def trigger(self, engine: int, plan: list[str], end: str, key: str | None) -> str | MultipleResults[str]:
        durably, input = self.engines[engine], {"plan": plan, "end": end}
        return self.triggered(lambda: durably.jobs["work"].trigger(input, concurrency_key=key))

    @rule(target=runs, engine=st.integers(0, 1), run_id=runs)
    def retrigger(self, engine: int, run_id: str) -> str | MultipleResults[str]:
        run = self.stored(run_id)
        if run is None or run.status not in TERMINAL:
            return multiple()
        return self.triggered(lambda: self.engines[engine].retrigger(run_id))

    def triggered(self, call: Callable[[], Awaitable[Run]]) -> str | MultipleResults[str]:
        try:
            run = self.do(call())
        except ConflictError:
            return multiple()
        assert run.id not in self.known
        self.known.add(run.id)
        return run.id

    @rule(engine=st.integers(0, 1))
    def process(self, engine: int) -> None:
        self.begin(engine)
        self.settle()

    def begin(self, engine: int) -> None:
        durably = self.engines[engine]
        if len(self.busy(durably)) < SLOTS:
            self.tasks.append(self.loop.create_task(durably.process_one(), name=durably.worker_id))

    def busy(self, durably: Durably) -> list[asyncio.Task[bool]]:
        return [task for task in self.tasks if task.get_name() == durably.worker_id and not task.done()]

    @rule(ms=st.sampled_from([200, 700, 3_000]))
    def time_passes(self, ms: int) -> None:
        for _ in range(0, ms, 500):
            self.clock.advance(min(ms, 500))
            self.settle()

    @rule(renewing=st.sampled_from([(True, True), (False, False), (True, False)]), engine=st.sampled_from([0, 1, None]))
    def the_machine_sleeps(self, renewing: tuple[bool, bool], engine: int | None) -> None:
        """All leases are over before anybody could renew them; then not everybody can, and somebody claims."""
        for durably, renews in zip(self.engines, renewing, strict=True):
            self.mortal(durably).renews = renews
        if engine is not None:
            self.begin(engine)
        self.clock.advance(2 * LEASE_MS)
        self.settle()
        for durably in self.engines:
            self.mortal(durably).renews = True

    @rule(engine=st.integers(0, 1))
    def crash(self, engine: int) -> None:
        """Nothing of the engine reaches the store any more; another one takes its place."""
        durably = self.engines[engine]
        self.mortal(durably).is_cut_off = True
        for task in self.busy(durably):
            task.cancel()
        self.settle()
        self.engines[engine] = self.new_engine()

    @rule(engine=st.integers(0, 1), number=st.integers(0, SLOTS - 1))
    def interrupt(self, engine: int, number: int) -> None:
        """Cancel what an engine executes: it gives the run back."""
        busy = self.busy(self.engines[engine])
        if number < len(busy):
            busy[number].cancel()
            self.settle()

    @rule(engine=st.integers(0, 1), run_id=runs)
    def cancel(self, engine: int, run_id: str) -> None:
        run = self.stored(run_id)
        if run is not None and run.status not in TERMINAL:
            self.do(self.engines[engine].cancel(run_id))
            self.cancelled.add(run_id)
            self.settle()

    @rule(engine=st.integers(0, 1), limit=st.sampled_from([1, 500]))
    def purge(self, engine: int, limit: int) -> None:
        self.do(self.store.release_expired_leases(self.now()))
        before = {run.id: run for run in self.listed()}
        self.do(self.engines[engine].purge_runs(self.clock.now(), limit))
        gone = before.keys() - {run.id for run in self.listed()}
        assert len(gone) <= limit and all(before[run_id].status in TERMINAL for run_id in gone)
        self.gone |= gone

    # --- What always holds ------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_everything_goes_forward(self) -> None:
        runs = self.listed()
        assert {run.id for run in runs} == self.known - self.gone
        leased = [run.concurrency_key for run in runs if run.status == "leased" and run.concurrency_key]
        pending = [run.concurrency_key for run in runs if run.status == "pending" and run.concurrency_key]
        assert len(leased) <= 1 and len(pending) <= 1
        for run in runs:
            assert run.lease_generation >= self.generations[run.id]
            self.generations[run.id] = run.lease_generation
            if run.status in TERMINAL:
                assert self.ended_as.setdefault(run.id, run.status) == run.status
            else:
                assert run.id not in self.ended_as, "an ended run was revived"
                self.check_steps(run)

    def check_steps(self, run: Run) -> None:
        stored = {step.name for step in self.do(self.store.get_steps(run.id)) if step.status == "completed"}
        told = {name for run_id, name in self.checkpoints if run_id == run.id}
        assert stored == told and run.completed_step_count == len(stored)

    @invariant()
    def what_is_told_is_told_once(self) -> None:
        assert all(count == 1 for count in [*self.checkpoints.values(), *self.ends.values()])

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            for task in [*self.tasks, *asyncio.all_tasks(self.loop)]:
                task.cancel()
            self.settle()
            self.do(self.store.close())
            self.loop.close()

    def finish(self) -> None:
        """Let both engines work until nothing is due, and compare each run with its plan."""
        for _ in range(300):
            if all(run.status in TERMINAL for run in self.listed()) and all(task.done() for task in self.tasks):
                break
            self.process(0)
            self.process(1)
            self.clock.advance(1_000)
            self.settle()
        self.nothing_is_lost_and_everything_goes_forward()
        self.what_is_told_is_told_once()
        assert all(task.done() for task in self.tasks), "an engine still waits for something"
        for task in self.tasks:
            assert task.cancelled() or isinstance(task.exception(), StoreError | None)
        for run in self.listed():
            self.check_end(run)

    def check_end(self, run: Run) -> None:
        assert isinstance(run.input, dict)
        plan: Any = run.input["plan"]
        if run.id in self.cancelled:
            assert (run.status, self.ends[run.id]) == ("cancelled", 1)
            return
        failed = run.input["end"] == "boom"
        expected = ("failed", None, "boom") if failed else ("completed", self.outputs_of(plan), None)
        assert (run.status, run.output, run.error) == expected
        assert self.ends[run.id] == 1
        names = {name for name in self.outputs_of(plan) if name != "caught"}
        assert {name for run_id, name in self.checkpoints if run_id == run.id} == names
        assert run.completed_step_count == len(names)

    # --- Helpers ----------------------------------------------------------------------------------------------

    def new_engine(self) -> Durably:
        durably = create_durably(MortalStore(self.store), jobs={"work": self.job}, clock=self.clock, lease_ms=LEASE_MS)
        durably.on("step:complete", self.count_checkpoint)
        for end in ("run:complete", "run:fail", "run:cancel"):
            durably.on(end, self.count_end)
        return durably

    def mortal(self, durably: Durably) -> MortalStore:
        assert isinstance(durably.store, MortalStore)
        return durably.store

    def count_checkpoint(self, event: Event) -> None:
        self.checkpoints[event.run_id, event.step_name] += 1  # type: ignore[attr-defined]

    def count_end(self, event: Event) -> None:
        self.ends[event.run_id] += 1  # type: ignore[attr-defined]

    def do(self, call: Awaitable[T]) -> T:
        return self.loop.run_until_complete(call)  # type: ignore[arg-type]

    def settle(self) -> None:
        async def turn() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.do(turn())

    def stored(self, run_id: str) -> Run | None:
        return self.do(self.store.get_run(run_id))

    def listed(self) -> list[Run]:
        return self.do(self.engines[0].get_runs())

    def now(self) -> str:
        return to_iso(self.clock.now())


@NO_TIMEOUT
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_every_run_ends_as_planned(store: str) -> None:
    run_state_machine_as_test(
        lambda: Engines(STORES[store]), settings=settings(SETTINGS, max_examples=EXAMPLES, stateful_step_count=30)
    )
