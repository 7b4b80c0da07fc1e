"""A scope of anyio around a step: its cancellation waits for the checkpoint, and keeps no processor busy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest

from durably_wasm import StepContext, define_job
from durably_wasm.cancellation import to_its_end
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock, FaultyStore

if TYPE_CHECKING:
    from conftest import Engine


async def idle() -> bool:
    """Let all come to rest, and say whether nothing is to run in the next turn of the event loop."""
    for _ in range(100):
        await asyncio.sleep(0)
    return not asyncio.get_running_loop()._ready  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["a scope", "a task"])
async def test_an_outage_keeps_no_processor_busy(engine: Engine, clock: FakeClock, kind: str) -> None:
    log: list[str] = []

    @define_job("job")
    async def job(step: StepContext) -> None:
        loop = asyncio.get_running_loop()
        if kind == "a scope":
            with anyio.CancelScope() as scope:
                loop.call_soon(scope.cancel)
                await step.run("work", int)
                await asyncio.Event().wait()
            log.append(f"cancelled: {scope.cancelled_caught}")
        else:
            task = asyncio.ensure_future(step.run("work", asyncio.sleep, 0))
            loop.call_later(0, lambda: loop.call_soon(task.cancel))
            await asyncio.wait([task])
            log.append(f"cancelled: {task.cancelled()}")

    store = FaultyStore(MemoryStore())
    store.fail("persist_step", times=3)
    durably = engine(job, store=store)
    run = await durably.jobs.job.trigger()
    task = asyncio.create_task(durably.process_one())
    assert await idle() and log == []
    for _ in range(4):
        clock.advance(10_000)
        assert await idle()
    assert task.done() and log == ["cancelled: True"]
    ended = await durably.get_run(run.id)
    assert ended is not None and (ended.status, ended.completed_step_count) == ("completed", 1)


async def test_work_in_a_cancelled_scope_ends_and_then_is_cancelled() -> None:
    gate, log = asyncio.Event(), list[str]()

    async def work() -> str:
        await gate.wait()
        await asyncio.sleep(0)
        log.append("done")
        return "result"

    async def caller() -> None:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            log.append(await to_its_end(work()))
            await asyncio.sleep(0)
            log.append("went on")
        log.append(f"cancelled: {scope.cancelled_caught}")

    task = asyncio.create_task(caller())
    assert await idle() and log == []
    gate.set()
    await task
    assert log == ["done", "result", "cancelled: True"]
