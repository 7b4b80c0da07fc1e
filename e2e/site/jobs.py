"""Jobs whose steps tell the test server that they ran, and stop there at a gate that the test opens."""

import asyncio
import ctypes
import math
import secrets
import time
from datetime import datetime
from typing import Any

import durably_wasm_js
import js
from pydantic import BaseModel, Field, RootModel, field_validator
from pyodide.http import pyfetch

from durably_wasm import StepContext, define_job


class CountInput(BaseModel):
    label: str = Field(min_length=1)
    steps: int = Field(ge=1)


class CountOutput(BaseModel):
    total: int


@define_job("count")
async def count(step: StepContext, input: CountInput) -> CountOutput:
    total = 0
    for number in range(input.steps):
        total += await step.run(f"step-{number}", work, input.label, number)
        step.progress(number + 1, input.steps, "Counting")
        step.log.info(f"Counted {number}")
    return CountOutput(total=total)


async def work(label: str, number: int) -> int:
    await journal(f"{label}/{number}")
    await pyfetch(f"/gate/{label}/{number}")
    return number * number


class KeepInput(BaseModel):
    label: str
    sizes: list[int]


@define_job("keep")
async def keep(step: StepContext, input: KeepInput) -> int:
    for number, size in enumerate(input.sizes):
        await step.run(f"step-{number}", work_and_keep, input.label, number, size)
    return sum(input.sizes)


async def work_and_keep(label: str, number: int, size: int) -> str:
    await work(label, number)
    return secrets.token_hex(size // 2)  # browsers compress


class ComputeInput(BaseModel):
    label: str
    seconds: float | None = None  # for ever


class DeadlyInput(BaseModel):
    label: str
    steps: int
    gets_on: bool  # each time by one step


class EchoInput(BaseModel):
    when: datetime
    content: bytes = b""

    model_config = {"val_json_bytes": "base64", "ser_json_bytes": "base64"}


@define_job("echo")
async def echo(step: StepContext, input: EchoInput) -> EchoInput:
    return input


@define_job("anything")
async def anything(step: StepContext, input) -> object:
    return await step.run("same", lambda: input)


@define_job("unstorable")
async def unstorable(step: StepContext) -> None:
    await step.run("not-a-number", lambda: {"ratio": math.nan})


@define_job("spin")
async def spin(step: StepContext, input: int) -> int:
    for number in range(input):
        await step.run(f"step-{number}", lambda: None)
    return input


@define_job("compute")
async def compute(step: StepContext, input: ComputeInput) -> None:
    await step.run("compute", keep_busy, input.label, input.seconds)
    await step.run("rest", journal, f"{input.label}/rest")


def keep_busy(label: str, seconds: float | None) -> None:
    tell(f"{label}/compute")
    end = math.inf if seconds is None else time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@define_job("deadly")
async def deadly(step: StepContext, input: DeadlyInput) -> str:
    executed = []

    async def survive_or_die(number: int) -> None:
        await work(input.label, number)
        if (len(executed) if input.gets_on else number) == 1:
            ctypes.string_at(0xFFFF_0000, 16)  # beyond the end of its memory
        executed.append(number)

    for number in range(input.steps):
        await step.run(f"step-{number}", survive_or_die, number)
    return "survived"


@define_job("stray")
async def stray(step: StepContext, input: str) -> None:
    await step.run("work", work, input, 0)
    await step.run("throw", throw_in_the_worker, input)


async def throw_in_the_worker(label: str) -> None:
    await journal(f"{label}/throw")
    await pyfetch(f"/gate/{label}/throw")
    js.eval("setTimeout(() => { throw new Error('a stray error') })")
    await asyncio.Event().wait()


@define_job("stubborn")
async def stubborn(step: StepContext, input: str) -> None:
    """Go on whatever cancels it."""
    await step.run("hold", hold_on, input)


async def hold_on(label: str) -> None:
    await journal(f"{label}/hold")
    while True:
        try:
            await asyncio.Event().wait()
        except BaseException:
            continue


@define_job("chatty")
async def chatty(step: StepContext, input: int) -> int:
    """Tell of its progress far more often than a page draws, between turns of the event loop and without."""
    for n in range(input):
        step.progress(n + 1, input)
        if n % 10 == 0:
            await asyncio.sleep(0)
    return input


@define_job("blocked")
async def blocked(step: StepContext, input: str) -> None:
    await step.run("before", lambda: [step.log.info(f"Line {number}") for number in range(100)])
    step.progress(1, 2)
    await step.run("compute", block, input)


def block(label: str) -> None:
    """Keep Python as busy as a long computation, until the gate is open."""
    tell(label)
    request = js.XMLHttpRequest.new()
    request.open("GET", f"/gate/{label}", False)
    request.send()


async def journal(entry: str) -> None:
    """Tell the server, and go on when it knows."""
    await pyfetch("/journal", method="POST", body=entry)


def tell(entry: str) -> None:
    """Tell the server without a pause: the request leaves though Python stays busy."""
    js.fetch("/journal", method="POST", body=entry)


class LargeInput(BaseModel):
    size: int  # in characters
    inside: str  # "a step", "the output" or "the error"


@define_job("large")
async def large(step: StepContext, input: LargeInput) -> Any:
    if input.inside == "a step":
        await step.run("large", lambda: "x" * input.size)
    if input.inside == "the error":
        raise ValueError("x" * input.size)
    return "x" * input.size


@define_job("drop")
async def drop(step: StepContext, input: str) -> None:
    await step.run("before", lambda: None)
    database = await durably_wasm_js.openSqlite("test")  # the engine's own connection
    database.script(f"DROP TABLE {input}")
    await step.run("after", lambda: None)


class ExitsInput(RootModel[int]):
    @field_validator("root")
    @classmethod
    def exit(cls, value: int) -> int:
        if value == 2:
            raise Unspeakable
        raise SystemExit("a validator exits")


class Unspeakable(RuntimeError):
    def __str__(self) -> str:
        raise self


@define_job("exits")
async def exits(step: StepContext, input: ExitsInput) -> None: ...
