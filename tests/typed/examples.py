"""What a type checker knows of the API. Never run: `test_typing.py` checks it and expects errors where it says so."""

from __future__ import annotations

from datetime import datetime
from typing import assert_type

from pydantic import BaseModel

from durably_wasm import Run, StepContext, TriggerItem, create_durably, define_job
from durably_wasm.handle import JobHandle
from durably_wasm.stores import MemoryStore


class ImportInput(BaseModel):
    filename: str


class ImportOutput(BaseModel):
    count: int


def parse(filename: str) -> list[str]:
    return [filename]


async def fetch(number: int) -> datetime:
    return datetime.fromtimestamp(number)


@define_job("import-csv")
async def import_csv(step: StepContext, input: ImportInput) -> ImportOutput:
    rows = await step.run("parse", parse, input.filename)
    assert_type(rows, list[str])
    assert_type(await step.run("fetch", fetch, 1), datetime)
    assert_type(await step.run("typed", lambda: {"count": 1}, returns=ImportOutput), ImportOutput)
    _ = input.nothing  # expected: attr-defined
    return ImportOutput(count=len(rows))


async def without_input(step: StepContext) -> int:
    return 1


tick = define_job("tick", run=without_input)


async def use(handle: JobHandle[ImportInput, ImportOutput]) -> None:
    result = await handle.trigger_and_wait(ImportInput(filename="data.csv"))
    assert_type(result.output, ImportOutput)
    assert_type(result.output.count, int)
    _ = result.output.nothing  # expected: attr-defined
    triggered = await handle.trigger({"filename": "data.csv"}, labels={"a": "b"})
    assert_type(triggered.input, ImportInput)
    await handle.trigger(5)  # expected: arg-type
    await handle.trigger({"filename": "x"}, coalesce="join")  # expected: arg-type
    await handle.batch_trigger([ImportInput(filename="a"), TriggerItem(ImportInput(filename="b"), labels={"a": "b"})])
    run = await handle.get_run(triggered.id)
    if run is not None:
        assert_type(run, Run[ImportInput, ImportOutput])
        assert_type(run.output, ImportOutput | None)


async def engine() -> None:
    async with create_durably(MemoryStore(), jobs={"import_csv": import_csv, "tick": tick}) as durably:
        run = await durably.get_run("id")
        if run is not None:
            run.status = "failed"  # expected: misc
        create_durably(MemoryStore(), polling_interval_ms="often")  # expected: arg-type


define_job("wrong", run=parse)  # expected: arg-type
