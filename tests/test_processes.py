"""Two processes work on one SQLite file: every run ends once, and every step is executed once, by whichever it is."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from durably_wasm import StepContext, create_durably, define_job
from durably_wasm.stores import SqliteStore

SCRIPT = Path(__file__).with_name("process_worker.py")
RUNS = 40


@define_job("work")
async def work(step: StepContext, number: int) -> int:
    raise NotImplementedError("the workers have one of their own")


async def start_worker(stack: AsyncExitStack, database: Path, notes: Path) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(SCRIPT), str(database), str(notes), stdin=PIPE, stdout=PIPE
    )

    def kill() -> None:
        if process.returncode is None:
            process.kill()

    stack.callback(kill)
    return process


async def test_two_processes_share_the_work(tmp_path: Path) -> None:
    database, notes = tmp_path / "runs.db", tmp_path / "notes.txt"
    durably = create_durably(SqliteStore(database), jobs={"work": work})
    await durably.migrate()
    async with AsyncExitStack() as stack:
        workers = [await start_worker(stack, database, notes) for _ in range(2)]
        for worker in workers:
            assert worker.stdin is not None and worker.stdout is not None
            assert await worker.stdout.readline() == b"ready\n"
        early = await durably.jobs["work"].batch_trigger(list(range(RUNS // 2)))
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
        late = [await durably.jobs["work"].trigger(number) for number in range(RUNS // 2, RUNS)]
        for run in [*early, *late]:
            await durably.wait_for_run(run.id, timeout_ms=60_000, polling_interval_ms=20)
        assert [(await worker.communicate(b""))[0] for worker in workers] == [b"", b""]
        assert [worker.returncode for worker in workers] == [0, 0]
    ids = {run.id: run.input for run in [*early, *late]}
    runs = await durably.get_runs()
    assert {run.id for run in runs} == ids.keys()
    assert {(run.status, run.lease_generation, run.completed_step_count) for run in runs} == {("completed", 1, 2)}
    assert all(run.output == ids[run.id] for run in runs)
    executed = [line.split() for line in notes.read_text("utf-8").splitlines()]
    assert Counter((run_id, step) for run_id, step, _ in executed) == Counter(
        (run_id, step) for run_id in ids for step in ("one", "two")
    )
    for run in runs:
        steps = await durably.get_steps(run.id)
        assert [(step.name, step.status) for step in steps] == [("one", "completed"), ("two", "completed")]
        assert len({step.output for step in steps}) == 1, "a run was executed by both"
    await durably.store.close()
