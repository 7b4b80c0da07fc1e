"""A run that waits for another one of its engine lends its slot, so that the other can be executed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import (
    ConflictError,
    Durably,
    JobDefinition,
    Run,
    RunCancelledError,
    RunFailedError,
    StepContext,
    WaitTimeoutError,
    define_job,
)
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Settle

HOW = ["trigger_and_wait", "wait_for_run", "subscribe", "a handle of another job"]


class Family:
    """Jobs whose runs trigger others and wait for them, and how many of those that do not wait ran at once."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.executing = self.most = 0
        self.ended: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.durably = engine(self.child(), self.parent(), self.chain(), **options)

    async def __aenter__(self) -> Family:
        await self.durably.init()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.durably.stop()

    async def wait(self, how: str, name: object, job: str = "child", **options: Any) -> object:
        """Trigger a run and wait for it, not counted as executing meanwhile."""
        self.executing -= 1
        try:
            return await self._wait(how, name, job, **options)
        finally:
            self._begin()

    async def _wait(self, how: str, name: object, job: str, **options: Any) -> object:
        handle = self.durably.jobs[job]
        if how == "trigger_and_wait":
            return (await handle.trigger_and_wait(name, **options)).output
        run = await handle.trigger(name)
        if how == "subscribe":
            return [event.type async for event in self.durably.subscribe(run.id)][-1]
        return (await self.durably.wait_for_run(run.id, **options)).output

    def _begin(self) -> None:
        self.executing += 1
        self.most = max(self.most, self.executing)

    def child(self) -> JobDefinition[Any, Any]:
        @define_job("child")
        async def child(step: StepContext, input: str) -> str:
            self._begin()
            await step.run("work", asyncio.sleep, 0)
            await self.gate.wait()
            self.executing -= 1
            self.ended.append(input)
            return f"{input} done"

        return child

    def parent(self) -> JobDefinition[Any, Any]:
        @define_job("parent")
        async def parent(step: StepContext, input: str) -> Any:
            self._begin()
            how, where = input.split("/")
            work = self.wait(how, input)
            output = await (step.run("wait", lambda: work) if where == "in a step" else work)
            await step.run("after", asyncio.sleep, 0)
            self.executing -= 1
            self.ended.append("parent")
            return output

        return parent

    def chain(self) -> JobDefinition[Any, Any]:
        @define_job("chain")
        async def chain(step: StepContext, input: int) -> Any:
            self._begin()
            below: Any = 0 if input == 0 else await self.wait("trigger_and_wait", input - 1, "chain")
            self.executing -= 1
            return 1 + below

        return chain


class TestOneSlot:
    @pytest.mark.parametrize("where", ["between steps", "in a step"])
    @pytest.mark.parametrize("how", HOW)
    async def test_is_enough_for_a_run_that_waits_for_another(
        self, engine: Engine, at_once: AtOnce, how: str, where: str
    ) -> None:
        async with Family(engine) as family:
            parent = await family.durably.jobs.parent.trigger(f"{how}/{where}")
            ended = await at_once(family.durably.wait_for_run(parent.id))
        assert ended.output == ("run:complete" if how == "subscribe" else f"{how}/{where} done")
        assert family.most == 1

    @pytest.mark.parametrize("depth", [1, 2, 30])
    async def test_is_enough_for_any_depth(self, engine: Engine, at_once: AtOnce, depth: int) -> None:
        async with Family(engine) as family:
            run = await family.durably.jobs.chain.trigger(depth)
            waiting = asyncio.create_task(family.durably.wait_for_run(run.id))
            await until_idle(family.durably)
            ended = await waiting
        assert ended.output == depth + 1
        assert family.most == 1

    async def test_is_enough_for_many_runs_that_wait(self, engine: Engine) -> None:
        async with Family(engine) as family:
            parents = await family.durably.jobs.parent.batch_trigger(["trigger_and_wait/"] * 10)
            await until_idle(family.durably)
            assert [(await found(family.durably, run.id)).status for run in parents] == ["completed"] * 10
        assert family.most == 1


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
async def test_slots_are_exceeded_by_no_run_that_does_not_wait(engine: Engine, slots: int) -> None:
    async with Family(engine, max_concurrent_runs=slots) as family:
        for n in range(12):
            await family.durably.jobs.parent.trigger(f"{HOW[n % len(HOW)]}/")
            await family.durably.jobs.child.trigger(f"alone {n}")
        await until_idle(family.durably)
    assert min(slots, 2) <= family.most <= slots
    assert len(family.ended) == 36


async def test_a_run_that_waits_for_several_lends_one_slot_until_the_last_has_ended(
    engine: Engine, at_once: AtOnce
) -> None:
    log: list[str] = []

    async def leaf(step: StepContext, input: str) -> str:
        log.append(f"+{input}")
        await asyncio.sleep(0)
        log.append(f"-{input}")
        return input

    async def root(step: StepContext) -> list[str]:
        waits = (durably.jobs.leaf.trigger_and_wait(name) for name in "abc")
        return [result.output for result in await asyncio.gather(*waits)]

    durably = engine(define_job("leaf", input=str, output=str, run=leaf), job_of(root))
    async with durably:
        run = await durably.jobs.job.trigger()
        assert (await at_once(durably.wait_for_run(run.id))).output == ["a", "b", "c"]
    assert log == ["+a", "-a", "+b", "-b", "+c", "-c"]


class TestWait:
    """How a wait in a job ends."""

    async def test_with_the_other_runs_failure(self, engine: Engine, at_once: AtOnce) -> None:
        @define_job("bad")
        async def bad(step: StepContext) -> None:
            raise ValueError("no")

        async def wait(step: StepContext) -> str:
            try:
                await durably.jobs.bad.trigger_and_wait()
            except RunFailedError as error:
                return str(error.run.error)
            return "it did not fail"

        durably = engine(bad, job_of(wait))
        async with durably:
            assert (await at_once(durably.jobs.job.trigger_and_wait())).output == "no"

    async def test_with_the_other_runs_cancellation(self, engine: Engine, at_once: AtOnce) -> None:
        async def wait(step: StepContext) -> str:
            run = await durably.jobs.forever.trigger()
            stopping = asyncio.create_task(durably.cancel(run.id))
            try:
                await durably.wait_for_run(run.id)
            except RunCancelledError:
                await stopping
                return "cancelled"
            return "it went on"

        durably = engine(FOREVER, job_of(wait))
        async with durably:
            assert (await at_once(durably.jobs.job.trigger_and_wait())).output == "cancelled"

    async def test_at_its_timeout_though_no_slot_is_free(
        self, engine: Engine, settle: Settle, clock: FakeClock
    ) -> None:
        async def wait(step: StepContext) -> str:
            try:
                await durably.jobs.forever.trigger_and_wait(timeout_ms=500)
            except WaitTimeoutError:
                return "late"
            return "it ended"

        durably = engine(FOREVER, job_of(wait))
        await durably.init()
        run = await durably.jobs.job.trigger()
        await settle()
        assert [other.status for other in await durably.get_runs()] == ["leased", "leased"]
        next_one = await durably.jobs.forever.trigger()
        clock.advance(500)
        await settle()
        assert (await found(durably, run.id)).output == "late"
        assert (await found(durably, next_one.id)).status == "pending"  # the slots are as many as ever
        for other in await durably.get_runs(status=["pending", "leased"]):
            await durably.cancel(other.id)
        await durably.stop()

    async def test_when_the_waiting_run_is_cancelled(self, engine: Engine, settle: Settle) -> None:
        async def wait(step: StepContext) -> None:
            await durably.jobs.forever.trigger_and_wait()

        durably = engine(FOREVER, job_of(wait))
        await durably.init()
        run = await durably.jobs.job.trigger()
        await settle()
        await durably.cancel(run.id)
        await settle()
        later = await durably.jobs.forever.trigger()
        await settle()
        assert (await found(durably, later.id)).status == "pending"
        assert [run.status for run in await durably.get_runs(job_name="forever")] == ["pending", "leased"]
        for other in await durably.get_runs(status=["pending", "leased"]):
            await durably.cancel(other.id)
        await durably.stop()

    async def test_for_a_run_that_has_ended_lends_nothing(self, engine: Engine, settle: Settle) -> None:
        gate = asyncio.Event()

        @define_job("quick")
        async def quick(step: StepContext) -> str:
            return "done"

        async def wait(step: StepContext) -> str:
            output = (await durably.wait_for_run(ended.id)).output
            await gate.wait()
            return str(output)

        durably = engine(quick, job_of(wait))
        ended = await durably.jobs.quick.trigger()
        await durably.process_one()
        await durably.init()
        run = await durably.jobs.job.trigger()
        other = await durably.jobs.quick.trigger()
        await settle()
        assert (await found(durably, other.id)).status == "pending"
        gate.set()
        await settle()
        assert [(await found(durably, each.id)).output for each in (run, other)] == ["done", "done"]
        await durably.stop()

    async def test_for_its_own_run_is_refused(self, engine: Engine, at_once: AtOnce) -> None:
        async def wait(step: StepContext) -> None:
            await durably.wait_for_run(step.run_id)

        durably = engine(job_of(wait))
        async with durably:
            with pytest.raises(RunFailedError, match=r"cannot wait for run .*, which waits for it"):
                await at_once(durably.jobs.job.trigger_and_wait())

    async def test_in_a_circle_is_refused(self, engine: Engine, settle: Settle) -> None:
        ids: list[str] = []
        all_run = asyncio.Event()

        async def wait(step: StepContext) -> None:
            ids.append(step.run_id)
            if len(ids) == 3:
                all_run.set()
            await all_run.wait()
            await durably.wait_for_run(ids[(ids.index(step.run_id) + 1) % 3])

        durably = engine(job_of(wait), max_concurrent_runs=3)
        async with durably:
            await durably.jobs.job.batch_trigger([None] * 3)
            await settle()
            runs = await durably.get_runs()
        assert [run.status for run in runs] == ["failed"] * 3
        assert sum("ConflictError" in str(run.error_type) for run in runs) == 1

    @pytest.mark.parametrize("depth", [1, 2])
    async def test_for_a_run_that_needs_its_concurrency_key_is_refused(
        self, engine: Engine, at_once: AtOnce, depth: int
    ) -> None:
        async def wait_in_the_middle(step: StepContext) -> None:
            await durably.jobs.forever.trigger_and_wait(concurrency_key="k")

        async def wait(step: StepContext) -> None:
            if depth == 1:
                await durably.jobs.forever.trigger_and_wait(concurrency_key="k")
            await durably.jobs.middle.trigger_and_wait()

        middle = define_job("middle", input=None, output=Any, run=wait_in_the_middle)
        durably = engine(FOREVER, middle, job_of(wait))
        async with durably:
            with pytest.raises(RunFailedError, match="its concurrency key 'k' is held by run"):
                await at_once(durably.jobs.job.trigger_and_wait(concurrency_key="k"))
            for run in await durably.get_runs(job_name="forever"):
                await durably.cancel(run.id)

    async def test_for_a_run_with_a_key_that_another_holds(self, engine: Engine, at_once: AtOnce) -> None:
        began = asyncio.Event()

        @define_job("keyed")
        async def keyed(step: StepContext) -> str:
            began.set()
            await asyncio.sleep(0)
            return "done"

        async def wait(step: StepContext) -> list[Any]:
            first = asyncio.create_task(durably.jobs.keyed.trigger_and_wait(concurrency_key="k"))
            await began.wait()
            second = durably.jobs.keyed.trigger_and_wait(concurrency_key="k")
            return [result.output for result in await asyncio.gather(first, second)]

        durably = engine(keyed, job_of(wait))
        async with durably:
            assert (await at_once(durably.jobs.job.trigger_and_wait())).output == ["done", "done"]

    async def test_of_a_listener_that_a_job_has_caused_lends_nothing(self, engine: Engine, settle: Settle) -> None:
        gate = asyncio.Event()

        async def work(step: StepContext) -> None:
            await step.run("one", int)
            await gate.wait()

        durably = engine(FOREVER, job_of(work))
        await durably.init()
        await durably.jobs.job.trigger()
        other = await durably.jobs.forever.trigger()
        durably.on("step:complete", lambda event: durably.wait_for_run(other.id, timeout_ms=10**9))
        await settle()
        assert (await found(durably, other.id)).status == "pending"
        await durably.cancel(other.id)
        durably.on_error(lambda error, event: None)
        gate.set()
        await settle()
        await durably.stop()


class TestByHand:
    """Without a worker's loop, the run that is executed is the only slot."""

    async def test_process_one_executes_what_its_run_waits_for(self, engine: Engine, at_once: AtOnce) -> None:
        family = Family(engine)
        parent = await family.durably.jobs.parent.trigger("trigger_and_wait/")
        assert await at_once(family.durably.process_one())
        assert (await found(family.durably, parent.id)).output == "trigger_and_wait/ done"
        assert family.most == 1
        assert not await family.durably.process_one()

    async def test_process_until_idle_counts_them(self, engine: Engine) -> None:
        family = Family(engine)
        for _ in range(3):
            await family.durably.jobs.parent.trigger("wait_for_run/in a step")
        assert await family.durably.process_until_idle() == 6
        assert family.most == 1

    async def test_what_was_begun_has_ended_when_process_one_returns(
        self, engine: Engine, settle: Settle, clock: FakeClock
    ) -> None:
        async def wait(step: StepContext) -> None:
            await durably.jobs.forever.trigger_and_wait(timeout_ms=500)

        durably = engine(FOREVER, job_of(wait))
        run = await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        clock.advance(500)
        await settle()
        assert (await found(durably, run.id)).status == "failed" and not task.done()
        [other] = await durably.get_runs(status="leased")
        await durably.cancel(other.id)
        await settle()
        assert task.done()

    async def test_its_cancellation_gives_all_back(self, engine: Engine, settle: Settle) -> None:
        async def wait(step: StepContext) -> None:
            await durably.jobs.forever.trigger_and_wait()

        durably = engine(FOREVER, job_of(wait))
        await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
        assert [run.status for run in await durably.get_runs()] == ["pending", "pending"]


class TestStop:
    """An engine that stops executes nothing new, so a run that waits for that is given back."""

    @pytest.mark.parametrize("how", HOW)
    async def test_does_not_wait_for_a_run_that_waits_for_a_pending_one(
        self, engine: Engine, settle: Settle, at_once: AtOnce, how: str
    ) -> None:
        family = Family(engine)
        durably = family.durably
        family.gate.clear()
        await durably.init()
        parents = await durably.jobs.parent.batch_trigger([f"{how}/", f"{how}/in a step"])
        await settle()
        stopping = asyncio.create_task(durably.stop())
        await settle()
        statuses = [(await found(durably, run.id)).status for run in parents]
        assert statuses.count("pending") == 1  # the other waits for a run that is in flight
        assert not stopping.done()
        family.gate.set()
        await settle()
        assert stopping.done()
        assert sorted([(await found(durably, run.id)).status for run in parents]) == ["completed", "pending"]
        await durably.init()
        await until_idle(durably)
        await at_once(durably.stop())

    async def test_meets_a_run_that_begins_to_wait_later(self, engine: Engine, settle: Settle) -> None:
        gate = asyncio.Event()

        async def wait(step: StepContext) -> None:
            await gate.wait()
            await durably.jobs.forever.trigger_and_wait()

        durably = engine(FOREVER, job_of(wait))
        await durably.init()
        run = await durably.jobs.job.trigger()
        await settle()
        stopping = asyncio.create_task(durably.stop())
        await settle()
        gate.set()
        await settle()
        assert stopping.done()
        assert (await found(durably, run.id)).status == "pending"

    async def test_handing_over_gives_back_what_waits_in_a_step(self, engine: Engine, settle: Settle) -> None:
        family = Family(engine)
        durably = family.durably
        family.gate.clear()
        await durably.init()
        await durably.jobs.parent.trigger("trigger_and_wait/in a step")
        await settle()
        handing = asyncio.create_task(durably.hand_over())
        await settle()
        assert handing.done()
        assert [run.status for run in await durably.get_runs()] == ["pending", "pending"]


class TestSuspects:
    async def test_let_what_they_wait_for_run(self, engine: Engine, at_once: AtOnce) -> None:
        async with Family(engine, max_concurrent_runs=2) as family:
            parents = await family.durably.jobs.parent.batch_trigger(["trigger_and_wait/", "wait_for_run/"])
            await family.durably.report_crash([run.id for run in parents], "a trap")
            for run in parents:
                assert (await at_once(family.durably.wait_for_run(run.id))).status == "completed"


class TestStopInsideAJob:
    """A job that stops its engine would wait for its own end."""

    @pytest.mark.parametrize("where", ["the job", "a step", "a task", "a gather"])
    @pytest.mark.parametrize("how", ["stop", "hand_over", "leave"])
    async def test_is_refused(self, engine: Engine, at_once: AtOnce, how: str, where: str) -> None:
        async def stop(step: StepContext) -> None:
            def call() -> Awaitable[object]:
                return durably.__aexit__(None, None, None) if how == "leave" else getattr(durably, how)()

            if where == "a step":
                await step.run("stop", call)
            elif where == "a task":
                await asyncio.ensure_future(call())
            elif where == "a gather":
                await asyncio.gather(call())
            else:
                await call()

        durably = engine(job_of(stop))
        async with durably:
            run = await durably.jobs.job.trigger()
            with pytest.raises(RunFailedError, match=f"inside a job: run {run.id} would wait for its own end"):
                await at_once(durably.wait_for_run(run.id))
            failed = await found(durably, run.id)
            assert failed.error_type == f"{ConflictError.__module__}.ConflictError"

    @pytest.mark.parametrize("event", ["run:leased", "step:start", "step:complete", "run:progress", "log:write"])
    @pytest.mark.parametrize("kind", ["a coroutine", "a task"])
    async def test_is_allowed_to_a_listener(self, engine: Engine, settle: Settle, event: str, kind: str) -> None:
        async def work(step: StepContext) -> None:
            await step.run("one", lambda: step.progress(1))
            step.log.info("line")

        durably = engine(job_of(work))
        stopping: list[asyncio.Task[None]] = []

        def stop_in_a_task(event: object) -> None:
            stopping.append(asyncio.create_task(durably.stop()))

        errors: list[BaseException] = []
        durably.on_error(lambda error, event: errors.append(error))
        durably.on(event, stop_in_a_task if kind == "a task" else lambda event: durably.stop())
        await durably.init()
        run = await durably.jobs.job.trigger()
        await settle()
        assert (await found(durably, run.id)).status == "completed"
        assert errors == [] and all(task.done() and task.exception() is None for task in stopping)
        other = await durably.jobs.job.trigger()
        await settle()
        assert (await found(durably, other.id)).status == "pending"

    async def test_of_another_engine_is_allowed(self, engine: Engine, at_once: AtOnce) -> None:
        async def work(step: StepContext) -> str:
            async with engine(job_of(nothing), store=MemoryStore()) as other:
                await other.jobs.job.trigger_and_wait()
            return "stopped"

        durably = engine(job_of(work))
        async with durably:
            assert (await at_once(durably.jobs.job.trigger_and_wait())).output == "stopped"

    async def test_is_allowed_to_a_task_that_outlives_its_run(self, engine: Engine, settle: Settle) -> None:
        ended = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []

        async def stop_later() -> None:
            await ended.wait()
            await durably.stop()

        async def work(step: StepContext) -> None:
            tasks.append(asyncio.create_task(stop_later()))

        durably = engine(job_of(work))
        await durably.init()
        await durably.jobs.job.trigger()
        await settle()
        ended.set()
        await settle()
        assert tasks[0].done() and tasks[0].exception() is None


@define_job("forever")
async def FOREVER(step: StepContext) -> None:
    await asyncio.Event().wait()


async def nothing(step: StepContext) -> None: ...


def job_of(function: Callable[[StepContext], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    return define_job("job", input=None, output=Any, run=function)


async def found(durably: Durably, run_id: str) -> Run:
    run = await durably.get_run(run_id)
    assert run is not None
    return run


async def until_idle(durably: Durably) -> None:
    for _ in range(100_000):
        if not await durably.get_runs(status=["pending", "leased"]):
            return
        await asyncio.sleep(0)
    pytest.fail(f"{await durably.get_runs(status=['pending', 'leased'])} have not ended")
