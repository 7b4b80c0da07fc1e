"""The same work in DBOS Transact's SQLite mode: as it comes, and with the journal mode that our store uses.

As it comes, SQLite keeps a rollback journal and waits for the disk at every commit. The second variant takes that
difference away, so that what is left is the engines' own work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.engine import RUNS, STEPS

Workflow = Callable[[int], int]


def steps_per_second(wal: bool, folder: Path) -> float:
    """Run a workflow of many steps."""
    with _launched(folder, wal) as (_, workflow):
        workflow(10)
        return STEPS / _seconds(lambda: workflow(STEPS))


def workflows_per_second(wal: bool, folder: Path) -> float:
    """Run workflows of one step, one after another and started all at once, and return what is faster."""
    with _launched(folder, wal) as (DBOS, workflow):
        workflow(1)
        in_order = _seconds(lambda: [workflow(1) for _ in range(RUNS)])

        def at_once() -> None:
            for handle in [DBOS.start_workflow(workflow, 1) for _ in range(RUNS)]:
                handle.get_result()

        return RUNS / min(in_order, _seconds(at_once))


@contextmanager
def _launched(folder: Path, wal: bool) -> Iterator[tuple[Any, Workflow]]:
    try:
        from dbos import DBOS
    except ImportError as error:
        raise SystemExit(f"DBOS is not installed: {error}") from error
    if wal:
        _use_wal()
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{folder / 'dbos.db'}", "log_level": "ERROR"})

    @DBOS.step()
    def echo(value: int) -> int:
        return value

    @DBOS.workflow()
    def steps(count: int) -> int:
        for number in range(count):
            echo(number)
        return count

    DBOS.launch()
    try:
        yield DBOS, steps
    finally:
        DBOS.destroy()


def _use_wal() -> None:
    """Configure every connection that SQLAlchemy opens in this process."""
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "connect")
    def configure(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


MEASUREMENTS: dict[str, Callable[[Path], float]] = {
    "steps, DBOS": partial(steps_per_second, False),
    "steps, DBOS with WAL": partial(steps_per_second, True),
    "workflows, DBOS": partial(workflows_per_second, False),
    "workflows, DBOS with WAL": partial(workflows_per_second, True),
}
