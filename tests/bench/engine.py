"""The engine over a `SqliteStore`: steps, runs of one step, a replay, and what it keeps in memory."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from durably_wasm import Durably, JobDefinition, StepContext, create_durably, define_job
from durably_wasm.stores import SqliteStore

STEPS = 1_000
RUNS = 500
REPLAYED = 10_000
PROCESSED = 10_000


def echo(value: int) -> int:
    return value


@define_job("steps")
async def steps(step: StepContext, input: int) -> int:
    for number in range(input):
        await step.run(f"step-{number}", echo, number)
    return input


async def steps_per_second(folder: Path) -> float:
    """Trigger a run of many steps and process it: from the trigger to the completed run."""
    durably = await _engine(folder, steps)
    await _process(durably, [10])
    return STEPS / await _process(durably, [STEPS])


async def runs_per_second(folder: Path) -> float:
    """Trigger a batch of runs of one step each and process them."""
    durably = await _engine(folder, steps)
    await _process(durably, [1] * 10)
    return RUNS / await _process(durably, [1] * RUNS)


async def replay(folder: Path) -> float:
    """Return the seconds from the claim of a run to its completion, all of its steps finished by an earlier engine."""
    finished = asyncio.Event()

    @define_job("steps")
    async def interrupted(step: StepContext, input: int) -> int:
        await steps.run(step, input)
        finished.set()
        await asyncio.Event().wait()
        return input

    before = await _engine(folder, interrupted)
    await before.jobs.job.trigger(REPLAYED)
    processing = asyncio.create_task(before.process_one())
    await finished.wait()
    processing.cancel()  # gives the lease back
    await asyncio.wait({processing})
    await before.store.close()

    after = await _engine(folder, steps)
    executed: list[object] = []
    after.on("step:start", executed.append)
    start = time.perf_counter()
    assert await after.process_one()
    seconds = time.perf_counter() - start
    assert not executed, f"{len(executed)} finished steps were executed again"
    return seconds


async def bytes_per_run(folder: Path) -> float:
    """Return by how much Python's memory grows with each run that an engine processes, once it is warm."""
    durably = await _engine(folder, steps)
    tracemalloc.start()
    await _process(durably, [1] * 1_000)
    before = _allocated()
    for _ in range(PROCESSED // 1_000):
        await _process(durably, [1] * 1_000)
    return (_allocated() - before) / PROCESSED


async def _engine(folder: Path, job: JobDefinition[Any, Any]) -> Durably:
    durably = create_durably(SqliteStore(folder / "durably.db"), jobs={"job": job})
    await durably.migrate()
    return durably


async def _process(durably: Durably, inputs: list[int]) -> float:
    start = time.perf_counter()
    await durably.jobs.job.batch_trigger(inputs)
    processed = await durably.process_until_idle()
    seconds = time.perf_counter() - start
    assert processed == len(inputs)
    return seconds


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _run(measurement: Callable[[Path], Awaitable[float]]) -> Callable[[Path], float]:
    async def awaited(folder: Path) -> float:
        return await measurement(folder)

    return lambda folder: asyncio.run(awaited(folder))


MEASUREMENTS: dict[str, Callable[[Path], float]] = {
    "steps, durably_wasm": _run(steps_per_second),
    "workflows, durably_wasm": _run(runs_per_second),
    "replay": _run(replay),
    "memory": _run(bytes_per_run),
}
