"""The jobs that are measured; `upstream/jobs.js` has the same for the TypeScript library."""

import asyncio
import gc

import pyodide_js
from pydantic import BaseModel

from durably_wasm import StepContext, define_job


class StepsInput(BaseModel):
    steps: int
    padding: str = ""


@define_job("steps")
async def steps(step: StepContext, input: StepsInput) -> int:
    for number in range(input.steps):
        await step.run(f"step-{number}", lambda: number)  # noqa: B023
    return input.steps


@define_job("held")
async def held(step: StepContext, input: StepsInput) -> None:
    for number in range(input.steps):
        await step.run(f"step-{number}", lambda: number)  # noqa: B023
    await step.run("hold", asyncio.Event().wait)


@define_job("busy")
async def busy(step: StepContext) -> None:
    await step.run("compute", compute)


def compute() -> None:
    while True:
        pass


@define_job("memory")
async def memory(step: StepContext) -> dict[str, int]:
    """Count what is alive; from the first call on, proxies of Python objects are counted too."""
    module = pyodide_js._module
    module.enable_pyproxy_allocation_tracing()
    gc.collect()
    return {
        "wasm": module.HEAP8.length,
        "pyproxies": module.pyproxy_alloc_map.size,
        "jsproxies": sum("JsProxy" in type(object).__name__ for object in gc.get_objects()),
    }
