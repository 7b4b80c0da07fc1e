"""What claiming and completing a run costs when the store holds 100,000 ended runs, beside an empty store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from playwright.sync_api import Page

from durably_wasm.models import NewRun
from durably_wasm.stores import SqliteStore
from e2e.bench.measuring import Measurement
from e2e.bench.session import Session, evaluate

ENDED = 100_000
WINDOWS, IN_WINDOW = 5, 200
CREATED = "2026-01-01T00:00:00.000Z"


def measurements(stores: Sequence[str]) -> list[Measurement]:
    """Return the measurement of each store; it fills one database and leaves another empty."""
    return [Measurement("claim_ms_at_100k", store, partial(_take, store), once=True) for store in stores]


def _take(store: str, session: Session) -> Mapping[str, list[float]]:
    crowded = session.new_name()
    pages = {
        store: _FILLERS[store](crowded, session),
        f"{store}_empty": session.open_engine(store, session.new_name()),
    }
    figures: dict[str, list[float]] = {of: [] for of in pages}
    for window in range(WINDOWS + 1):
        for of, page in pages.items():
            page.bring_to_front()
            rate = evaluate(page, f"() => measures.shortRunsPerSecond({IN_WINDOW}, {{ steps: 0 }})")
            if window > 0:  # the first one warms up
                figures[of].append(1_000 / rate)
    for page in pages.values():
        page.close()
    return figures


def _fill_indexeddb(database: str, session: Session) -> Page:
    """Write the runs' records from a page, and open an engine on them."""
    page = session.open_bare()
    evaluate(page, "([name, count]) => fillIndexedDb(name, count)", [database, ENDED])
    page.close()
    return session.open_engine("indexeddb", database)


def _fill_sqlite(database: str, session: Session) -> Page:
    """Make the database here, where SQLite is faster, and have an engine import it."""
    with ThreadPoolExecutor() as threads:  # Playwright keeps an event loop running in this one
        threads.submit(lambda: asyncio.run(_write_ended_runs(session.folder / "ended.sqlite3"))).result()
    page = session.open_engine("sqlite", database)
    evaluate(page, "async () => durably.importDatabase(await (await fetch('./ended.sqlite3')).blob())")
    return page


async def _write_ended_runs(path: Path) -> None:
    store = SqliteStore(path)
    await store.migrate()
    await store.enqueue_many([NewRun("steps", {"steps": 0})] * ENDED, CREATED)
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE runs SET status = 'completed', completed_at = created_at")


_FILLERS = {"indexeddb": _fill_indexeddb, "sqlite": _fill_sqlite}
