"""What it costs a store to claim a run and complete it, and what other runs in the store add to that."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from durably_wasm.models import NewRun
from durably_wasm.stores import MemoryStore, SqliteStore, Store

WINDOWS, IN_WINDOW = 20, 100
LEASE_MS = 30_000
CREATED, NOW = "2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.000Z"
STORES: dict[str, Callable[[Path], Store]] = {
    "MemoryStore": lambda folder: MemoryStore(),
    "SqliteStore": lambda folder: SqliteStore(folder / "durably.db"),
}
AHEAD = {"no other runs": (0, 0), "100,000 ended runs": (100_000, 0), "10,000 unknown runs": (0, 10_000)}


async def seconds_per_run(store: Store, ended: int, unknown: int) -> float:
    """Return the seconds of one claim and completion, with older runs in the store that have ended or wait for ever.

    It is the median of several windows, so that what else the machine does for a moment does not count.
    """
    await store.migrate()
    await store.enqueue_many([NewRun("job", None)] * ended, CREATED)
    await _process(store, ended)
    await store.enqueue_many([NewRun("unknown", None)] * unknown, CREATED)
    await store.close()
    await store.migrate()  # the file has the log of its writes merged now
    await store.enqueue_many([NewRun("job", None)] * ((1 + WINDOWS) * IN_WINDOW), NOW)
    await _process(store, IN_WINDOW)  # warm
    return statistics.median([await _seconds(store) for _ in range(WINDOWS)]) / IN_WINDOW


async def _seconds(store: Store) -> float:
    start = time.perf_counter()
    await _process(store, IN_WINDOW)
    return time.perf_counter() - start


async def _process(store: Store, count: int) -> None:
    for _ in range(count):
        run = await store.claim_next("worker", NOW, LEASE_MS, jobs=["job"])
        assert run is not None
        assert await store.complete_run(run.id, run.lease_generation, None, NOW)


def _measure(open: Callable[[Path], Store], ended: int, unknown: int, folder: Path) -> float:
    return asyncio.run(seconds_per_run(open(folder), ended, unknown))


MEASUREMENTS: dict[str, Callable[[Path], float]] = {
    f"claims, {store}, {ahead}": partial(_measure, open, *counts)
    for store, open in STORES.items()
    for ahead, counts in AHEAD.items()
}
