"""What ends the process ends a run at most: SystemExit fails it, KeyboardInterrupt gives it back and is passed on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import Durably, JobDefinition, Run, StepContext, create_durably, define_job
from durably_wasm.stores import SqliteStore

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Execute, Settle

Raise = Callable[[], object]
Way = Callable[[StepContext, Raise], Awaitable[object]]


async def _in_the_job(step: StepContext, stray: Raise) -> None:
    stray()


async def _in_a_step(step: StepContext, stray: Raise) -> None:
    await step.run("work", stray)


async def _in_an_async_step(step: StepContext, stray: Raise) -> None:
    await step.run("work", _later, stray)


async def _in_a_gather(step: StepContext, stray: Raise) -> None:
    await asyncio.gather(step.run("work", stray), step.run("other", asyncio.sleep, 0))


async def _in_a_gather_of_async_steps(step: StepContext, stray: Raise) -> None:
    await asyncio.gather(step.run("other", asyncio.sleep, 0), step.run("work", _later, stray))


async def _in_a_gather_without_steps(step: StepContext, stray: Raise) -> None:
    await asyncio.gather(_later(stray), asyncio.sleep(0))


async def _in_a_group(step: StepContext, stray: Raise) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(step.run("work", _later, stray))


async def _in_a_group_without_steps(step: StepContext, stray: Raise) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_later(stray))


async def _in_a_task(step: StepContext, stray: Raise) -> None:
    await asyncio.create_task(_later(stray))


async def _in_a_task_of_a_step(step: StepContext, stray: Raise) -> None:
    async def work() -> None:
        await asyncio.gather(_later(stray))

    await step.run("work", work)


async def _in_a_task_with_a_context(step: StepContext, stray: Raise) -> None:
    import contextvars

    await asyncio.create_task(_later(stray), context=contextvars.copy_context())


async def _under_a_timeout(step: StepContext, stray: Raise) -> None:
    await asyncio.wait_for(_later(stray), 60)


WAYS: list[Way] = [
    _in_the_job,
    _in_a_step,
    _in_an_async_step,
    _in_a_gather,
    _in_a_gather_of_async_steps,
    _in_a_gather_without_steps,
    _in_a_group,
    _in_a_group_without_steps,
    _in_a_task,
    _in_a_task_of_a_step,
    _in_a_task_with_a_context,
    _under_a_timeout,
]


async def _later(stray: Raise) -> None:
    await asyncio.sleep(0)
    stray()


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__.strip("_"))
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


class TestSystemExit:
    async def test_fails_the_run_and_the_loop_goes_on(self, execute: Execute, way: Way) -> None:
        run, _ = await execute(job_of(way, lambda: sys.exit("leaving")))
        assert run.status == "failed"
        if "group" in way.__name__:
            assert run.error_type == "BaseExceptionGroup" and "SystemExit: leaving" in (run.error_traceback or "")
        else:
            assert (run.error, run.error_type) == ("leaving", "SystemExit")
        assert "leaving" in (run.error_traceback or "")

    async def test_of_the_workers_loop_lets_it_go_on(self, engine: Engine, at_once: AtOnce, way: Way) -> None:
        async with engine(job_of(way, lambda: sys.exit(3)), QUIET) as durably:
            run = await durably.jobs.job.trigger()
            other = await durably.jobs.quiet.trigger()
            assert (await at_once(durably.wait_for_run(other.id))).status == "completed"
            assert (await found(durably, run.id)).status == "failed"

    @pytest.mark.parametrize("code", [None, 0, 1, "text"], ids=repr)
    @pytest.mark.parametrize("exit_", [sys.exit, exit, quit])
    async def test_of_whatever_kind(self, execute: Execute, exit_: Callable[[Any], object], code: object) -> None:
        run, _ = await execute(job_of(_in_a_gather, lambda: exit_(code)))
        assert (run.status, run.error_type) == ("failed", "SystemExit")

    async def test_may_be_caught_by_the_job(self, execute: Execute) -> None:
        async def catch(step: StepContext, stray: Raise) -> str:
            try:
                await step.run("work", stray)
            except SystemExit:
                return "caught"
            return "nothing to catch"

        run, events = await execute(job_of(catch, sys.exit))
        assert (run.status, run.output) == ("completed", "caught")
        assert [event.type for event in events if event.type.startswith("step:")] == ["step:start", "step:fail"]

    async def test_of_a_validator_fails_the_run(self, execute: Execute) -> None:
        from typing import Annotated

        import pydantic

        def leave(value: object) -> object:
            sys.exit(str(value)) if leaving else None
            return value

        leaving: list[bool] = []
        Leaving = Annotated[str, pydantic.AfterValidator(leave)]

        async def work(step: StepContext) -> str:
            leaving.append(True)
            return "out"

        run, _ = await execute(define_job("job", input=None, output=Leaving, run=work))
        assert (run.status, run.error) == ("failed", "Invalid output: out")


@pytest.mark.parametrize("error", [GeneratorExit, StopAsyncIteration, StopIteration, asyncio.CancelledError])
async def test_other_oddities_fail_the_run_too(execute: Execute, way: Way, error: type[BaseException]) -> None:
    def stray() -> None:
        raise error("odd")

    run, _ = await execute(job_of(way, stray))
    is_ignored = error is asyncio.CancelledError and "group" in way.__name__  # by asyncio, as a task that was cancelled
    assert run.status == ("completed" if is_ignored else "failed")


class TestKeyboardInterrupt:
    async def test_gives_the_run_back_and_is_passed_on(self, engine: Engine, way: Way) -> None:
        interrupted: list[bool] = []

        def interrupt_once() -> str:
            if not interrupted:
                interrupted.append(True)
                raise KeyboardInterrupt("stop")
            return "done"

        durably = engine(job_of(way, interrupt_once))
        events: list[str] = []
        durably.on("*", lambda event: events.append(event.type))
        run = await durably.jobs.job.trigger()
        with pytest.raises(KeyboardInterrupt, match="stop"):
            await durably.process_one()
        given_back = await found(durably, run.id)
        assert (given_back.status, given_back.lease_owner, given_back.error) == ("pending", None, None)
        assert not {"run:fail", "step:fail", "worker:error"} & set(events)
        assert [step for step in await durably.get_steps(run.id) if step.status == "failed"] == []
        assert await durably.process_one()
        assert (await found(durably, run.id)).status == "completed"

    async def test_of_a_run_that_was_cancelled_stays_cancelled(self, engine: Engine, settle: Settle) -> None:
        async def work(step: StepContext) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise KeyboardInterrupt

        durably = engine(define_job("job", input=None, output=Any, run=work))
        run = await durably.jobs.job.trigger()
        raised: list[str] = []

        async def process() -> None:
            try:
                await durably.process_one()
            except KeyboardInterrupt:
                raised.append("raised")

        task = asyncio.create_task(process())
        await settle()
        await durably.cancel(run.id)
        await settle()
        assert task.done() and raised == ["raised"]
        assert (await found(durably, run.id)).status == "cancelled"


class TestTasksOfOthers:
    async def test_are_made_as_ever(self, engine: Engine, settle: Settle) -> None:
        loop = asyncio.get_running_loop()
        made: list[object] = []

        def factory(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
            made.append(work)
            return asyncio.Task(work, loop=loop, **more)

        loop.set_task_factory(factory)
        try:
            durably = engine(job_of(_in_a_gather, lambda: sys.exit("leaving")))
            run = await durably.jobs.job.trigger()
            await durably.process_one()
            assert loop.get_task_factory() is factory
            assert (await found(durably, run.id)).error == "leaving"
            assert made
        finally:
            loop.set_task_factory(None)

    async def test_have_no_factory_left_when_no_job_runs(self, execute: Execute, way: Way) -> None:
        await execute(job_of(way, lambda: None))
        assert asyncio.get_running_loop().get_task_factory() is None

    async def test_of_a_job_are_shown_by_their_coroutines(self, execute: Execute) -> None:
        shown: list[str] = []

        async def named() -> None:
            shown.append(repr(asyncio.current_task()))

        async def work(step: StepContext, _: Raise) -> None:
            await asyncio.create_task(named(), name="mine")

        await execute(job_of(work, lambda: None))
        assert "named" in shown[0] and "mine" in shown[0]

    async def test_of_a_job_may_be_cancelled_before_they_begin(self, execute: Execute) -> None:
        async def work(step: StepContext, _: Raise) -> str:
            task = asyncio.create_task(asyncio.sleep(1))
            task.cancel()
            await asyncio.wait([task])
            return f"cancelled: {task.cancelled()}"

        run, _ = await execute(job_of(work, lambda: None))
        assert run.output == "cancelled: True"


PROGRAM = """
import asyncio, os, signal, sys
from durably_wasm import StepContext, create_durably, define_job
from durably_wasm.stores import SqliteStore

def interrupt():
    for _ in range(SIGNALS):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10_000):
            pass  # until the signal was handled

@define_job("job")
async def job(step: StepContext) -> None:
    await step.run("first", int)
    await step.run("second", interrupt)

async def main():
    durably = create_durably(SqliteStore(sys.argv[1]), jobs={"job": job})
    await durably.migrate()
    await durably.jobs.job.trigger()
    if HOW == "loop":
        durably.start()
        await asyncio.Event().wait()
    await durably.process_one()

if RUNNER == "asyncio.run":
    asyncio.run(main())
else:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
        loop.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT")
@pytest.mark.parametrize("runner", ["asyncio.run", "run_until_complete"])
@pytest.mark.parametrize("how", ["process_one", "loop"])
@pytest.mark.parametrize("signals", [1, 2])
def test_sigint_in_a_step_leaves_the_run_pending(tmp_path: Path, runner: str, how: str, signals: int) -> None:
    path = tmp_path / "runs.db"
    head = f"RUNNER, HOW, SIGNALS = {runner!r}, {how!r}, {signals}\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(PROGRAM), os.fspath(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "KeyboardInterrupt" in done.stderr, done.stderr
    assert done.returncode in (-signal.SIGINT, 130, 1)

    async def look() -> tuple[Run, list[str]]:
        durably = create_durably(SqliteStore(path))
        await durably.migrate()
        [run] = await durably.get_runs()
        steps = [step.name for step in await durably.get_steps(run.id) if step.status == "completed"]
        await durably.store.close()
        return run, steps

    run, steps = asyncio.run(look())
    assert (run.error, run.lease_owner) == (None, None)
    if runner == "asyncio.run" and signals == 1 and how == "loop":  # which cancels its main task alone
        assert run.status == "completed"
    else:
        assert (run.status, steps[0]) == ("pending", "first")


def job_of(way: Callable[[StepContext, Raise], Awaitable[object]], stray: Raise) -> JobDefinition[Any, Any]:
    async def run(step: StepContext) -> object:
        return await way(step, stray)

    return define_job("job", input=None, output=Any, run=run)


@define_job("quiet")
async def QUIET(step: StepContext) -> None: ...


async def found(durably: Durably, run_id: str) -> Run:
    run = await durably.get_run(run_id)
    assert run is not None
    return run
