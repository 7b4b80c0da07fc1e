"""A worker process of `test_processes`: executes runs of a SQLite file, and notes every step that it really executes.

Arguments: the database, and the file to note steps in. It says ``ready``, begins at the first line of its standard
input, and stops when that ends.
"""

from __future__ import annotations

import asyncio
import os
import sys

from durably_wasm import StepContext, create_durably, define_job
from durably_wasm.stores import SqliteStore


async def main(database: str, notes: str) -> None:
    def note(run_id: str, step: str) -> int:
        with open(notes, "a", encoding="utf-8") as file:  # one short line in append mode is written whole
            file.write(f"{run_id} {step} {os.getpid()}\n")
        return os.getpid()

    @define_job("work")
    async def work(step: StepContext, number: int) -> int:
        await step.run("one", note, step.run_id, "one")
        await step.run("two", note, step.run_id, "two")
        return number

    durably = create_durably(
        SqliteStore(database), jobs={"work": work}, polling_interval_ms=5, max_concurrent_runs=2, preserve_steps=True
    )
    await durably.migrate()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await reader.readline()
    async with durably:
        await reader.read()  # to its end


asyncio.run(main(*sys.argv[1:]))
