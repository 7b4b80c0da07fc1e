"""What a store refuses for ever is the failure of the step or the run that asked for it, once, and of no other run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from object_driver import FakeObjectDriver

from durably_wasm import Durably, Event, JobDefinition, Run, StepContext, StoreError, define_job
from durably_wasm.stores import MemoryStore, SqliteStore, Store
from durably_wasm.stores.indexeddb import IndexedDbStore

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Record

TOO_BIG = "string or blob too big"


def job_of(function: Callable[[StepContext], Awaitable[Any]]) -> JobDefinition[Any, Any]:
    """Make a job without input."""
    return define_job("job", input=None, output=Any, run=function)


@define_job("other", input=None, output=str)
async def other(step: StepContext) -> str:
    return await step.run("one", lambda: "fine")


async def too_big() -> None:
    raise StoreError(TOO_BIG, is_caused_by_data=True)


async def out_of_memory() -> None:
    raise MemoryError


REFUSALS = [too_big, out_of_memory]


@pytest.fixture
def stores() -> dict[str, Store]:
    return {
        "memory": MemoryStore(),
        "sqlite": SqliteStore(":memory:"),
        "indexeddb": IndexedDbStore(FakeObjectDriver()),
    }


def of_type(events: list[Event], *types: str) -> list[Any]:
    return [event for event in events if event.type in types]


async def only_run(durably: Durably) -> Run:
    [run] = await durably.get_runs(job_name="job")
    return run


class TestStep:
    @pytest.mark.parametrize("refusal", REFUSALS)
    async def test_fails_with_the_reason_and_its_job_may_go_on(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce, refusal: Any
    ) -> None:
        caught: list[str] = []

        @job_of
        async def job(step: StepContext) -> str:
            try:
                await step.run("large", lambda: "x")
            except Exception as error:
                caught.append(str(error))
            return await step.run("small", lambda: "y")

        store = intercept(MemoryStore())
        store.before("persist_step", refusal)
        durably = engine(job, store=store, preserve_steps=True)
        events = record(durably)
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        run = await only_run(durably)
        assert (run.status, run.output, run.lease_generation) == ("completed", "y", 1)
        steps = [(step.name, step.status, step.error) for step in await durably.get_steps(run.id)]
        message = TOO_BIG if refusal is too_big else "MemoryError"
        assert steps == [("large", "failed", message), ("small", "completed", None)]
        [failed] = of_type(events, "step:fail")
        assert (failed.step_name, failed.error) == ("large", message) and len(caught) == 1
        assert of_type(events, "worker:error") == []

    @pytest.mark.parametrize("refusal", REFUSALS)
    async def test_that_is_not_caught_fails_the_run_once(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce, refusal: Any
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("large", lambda: "x")

        store = intercept(MemoryStore())
        store.before("persist_step", refusal)
        durably = engine(job, other, store=store)
        events = record(durably)
        await durably.jobs.job.trigger()
        fine = await durably.jobs.other.trigger()
        assert await at_once(durably.process_until_idle()) == 2
        run = await only_run(durably)
        assert run.status == "failed" and run.error is not None and run.error_traceback is not None
        assert run.error_type in ("durably_wasm.errors.StoreError", "MemoryError")
        [failed] = of_type(events, "run:fail")
        assert failed.failed_step_name == "large"
        assert (await durably.wait_for_run(fine.id)).output == "fine"

    async def test_whose_failure_cannot_be_stored_fails_all_the_same(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce
    ) -> None:
        @job_of
        async def job(step: StepContext) -> None:
            await step.run("large", lambda: "x")

        store = intercept(MemoryStore())
        store.before("persist_step", too_big, too_big)
        durably = engine(job, store=store)
        events = record(durably)
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert [event.step_name for event in of_type(events, "step:fail")] == ["large"]
        assert of_type(events, "run:fail")[0].failed_step_name == "large"
        [error] = of_type(events, "worker:error")
        assert (error.error, error.context) == (TOO_BIG, "store")

    async def test_that_cannot_be_read_fails_the_run(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce, store: MemoryStore
    ) -> None:
        async def unreadable() -> None:
            raise ValueError("Expecting value: line 1 column 1 (char 0)")

        watched = intercept(store)
        durably = engine(other, store=watched)
        run = await durably.jobs.other.trigger()
        assert await store.claim_next("gone", run.created_at, 0) is not None
        watched.before("get_steps", unreadable)
        events = record(durably)
        assert await at_once(durably.process_one())
        ended = await durably.get_run(run.id)
        assert ended is not None and (ended.status, ended.error_type) == ("failed", "ValueError")
        assert len(of_type(events, "run:fail")) == 1


class TestOutput:
    @pytest.mark.parametrize("refusal", REFUSALS)
    async def test_fails_the_run_once_and_others_go_on(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce, refusal: Any
    ) -> None:
        calls: list[str] = []

        @job_of
        async def job(step: StepContext) -> str:
            await step.run("one", calls.append, "one")
            return "large"

        store = intercept(MemoryStore())
        store.before("complete_run", refusal)
        durably = engine(job, other, store=store)
        events = record(durably)
        await durably.jobs.job.trigger()
        await durably.jobs.other.trigger()
        assert await at_once(durably.process_until_idle()) == 2
        run = await only_run(durably)
        assert (run.status, run.lease_generation, calls) == ("failed", 1, ["one"])
        reason = "MemoryError" if refusal is out_of_memory else TOO_BIG
        assert run.error == f"Invalid output: {reason}"
        assert [event.type for event in of_type(events, "run:fail", "run:complete")] == ["run:fail", "run:complete"]
        assert of_type(events, "worker:error") == []

    @pytest.mark.parametrize("store", ["memory", "sqlite", "indexeddb"])
    @pytest.mark.parametrize("declared", [Any, int])
    async def test_without_a_text_fails_the_run_once(
        self, engine: Engine, at_once: AtOnce, stores: dict[str, Store], store: str, declared: Any
    ) -> None:
        async def job(step: StepContext) -> int:
            return int("9" * 4_000) ** 2

        await stores[store].migrate()
        durably = engine(define_job("job", input=None, output=declared, run=job), store=stores[store])
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_until_idle()) == 1
        run = await only_run(durably)
        assert run.status == "failed" and run.error is not None and run.error.startswith("Invalid output: ")
        await durably.store.close()


class TestFailure:
    """The reason itself may be what the store refuses."""

    async def failed_after(
        self, refusals: int, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce
    ) -> tuple[Run, list[Event]]:
        @job_of
        async def job(step: StepContext) -> None:
            raise ValueError("because " * 200)

        store = intercept(MemoryStore())
        store.before("fail_run", *[too_big] * refusals)
        durably = engine(job, other, store=store)
        events = record(durably)
        await durably.jobs.job.trigger()
        await durably.jobs.other.trigger()
        assert await at_once(durably.process_until_idle()) == 2
        return await only_run(durably), events

    async def test_that_is_refused_is_shortened(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce
    ) -> None:
        run, events = await self.failed_after(1, engine, intercept, record, at_once)
        assert run.status == "failed" and run.error is not None and run.error_type == "ValueError"
        assert run.error.startswith("because because ") and len(run.error) <= 500 and run.error_traceback is None
        assert len(of_type(events, "run:fail")) == 1 and of_type(events, "worker:error") == []

    async def test_that_is_refused_again_leaves_a_reason_that_every_store_takes(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce
    ) -> None:
        run, _ = await self.failed_after(2, engine, intercept, record, at_once)
        assert (run.status, run.error) == ("failed", "The run failed, and the store refused to keep the reason")

    async def test_that_cannot_be_stored_at_all_is_reported_and_ends_no_worker(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce
    ) -> None:
        run, events = await self.failed_after(3, engine, intercept, record, at_once)
        assert run.status == "leased"
        [error] = of_type(events, "worker:error")
        assert (error.error, error.context, error.run_id) == (TOO_BIG, "run-failure", run.id)


class TestHookBeforeTheEnd:
    async def run_with(
        self, hook: Any, job: JobDefinition[Any, Any], engine: Engine, record: Record, at_once: AtOnce
    ) -> tuple[Run, list[Event]]:
        durably = engine(job)
        durably.before_end(hook)
        events = record(durably)
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_until_idle()) == 1
        return await only_run(durably), events

    async def test_that_raises_fails_the_run_once(self, engine: Engine, record: Record, at_once: AtOnce) -> None:
        async def hook(run_id: str) -> None:
            raise KeyError("a plugin's own")

        @job_of
        async def job(step: StepContext) -> str:
            return "done"

        run, events = await self.run_with(hook, job, engine, record, at_once)
        assert (run.status, run.error, run.error_type) == ("failed", '"a plugin\'s own"', "KeyError")
        assert run.error_traceback is not None and "in hook" in run.error_traceback
        assert len(of_type(events, "run:fail")) == 1 and of_type(events, "worker:error") == []

    async def test_that_raises_hides_no_failure_of_the_job(
        self, engine: Engine, record: Record, at_once: AtOnce
    ) -> None:
        async def hook(run_id: str) -> None:
            raise KeyError("a plugin's own")

        @job_of
        async def job(step: StepContext) -> None:
            raise ValueError("the job's own")

        run, events = await self.run_with(hook, job, engine, record, at_once)
        assert (run.status, run.error) == ("failed", "the job's own")
        assert [event.context for event in of_type(events, "worker:error")] == ["run-failure"]

    async def test_that_raises_after_a_cancellation_ends_no_worker(self, engine: Engine, at_once: AtOnce) -> None:
        async def hook(run_id: str) -> None:
            raise KeyError("a plugin's own")

        @job_of
        async def job(step: StepContext) -> None:
            await durably.cancel(step.run_id)
            await step.run("one", int)

        durably = engine(job)
        durably.before_end(hook)
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_until_idle()) == 1
        assert (await only_run(durably)).status == "cancelled"

    async def test_that_meets_an_outage_is_awaited_again(
        self, engine: Engine, record: Record, clock: Any, settle: Any
    ) -> None:
        outage = [StoreError("out of order")]

        async def hook(run_id: str) -> None:
            if outage:
                raise outage.pop()

        @job_of
        async def job(step: StepContext) -> str:
            return "done"

        durably = engine(job)
        durably.before_end(hook)
        await durably.jobs.job.trigger()
        task = asyncio.create_task(durably.process_one())
        await settle()
        clock.advance(100)
        await settle()
        assert task.done() and (await only_run(durably)).output == "done"


class TestProgress:
    @pytest.mark.parametrize("refusal", REFUSALS)
    async def test_that_is_refused_is_reported_and_fails_no_run(
        self, engine: Engine, intercept: Intercept, record: Record, at_once: AtOnce, refusal: Any
    ) -> None:
        @job_of
        async def job(step: StepContext) -> str:
            step.progress(1, 2, "half")
            return "done"

        store = intercept(MemoryStore())
        store.before("update_progress", refusal)
        durably = engine(job, store=store)
        events = record(durably)
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_one())
        assert (await only_run(durably)).output == "done"
        assert [event.context for event in of_type(events, "worker:error")] == ["progress"]
