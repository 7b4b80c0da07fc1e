"""What leaves in an exported file. In the browser JavaScript runs the scripts, on wa-sqlite; here `sqlite3` does."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from contract.given import (
    ALL,
    NOW,
    after,
    cancelled,
    checkpointed,
    claimed,
    completed,
    contents,
    enqueued,
    logged,
    new_run,
)

from durably_wasm.models import NewLog, Progress, RunError
from durably_wasm.stores import SqliteStore
from durably_wasm.stores.migrations import export_scripts
from durably_wasm.stores.sql_driver import StandardDriver

MARK = "sécret-4711"
TRACES = (b"4711", MARK.encode(), MARK.encode("utf-16-le"), MARK.encode("unicode-escape"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "runs.db")
    await store.migrate()
    yield store
    await store.close()


def exported(file: Path) -> bytes:
    """Export the store's file as `Sqlite.export` of web/worker/bridge/sqlite.js does."""
    scripts = export_scripts()
    with (
        closing(sqlite3.connect(":memory:")) as empty,
        closing(sqlite3.connect(file, isolation_level=None)) as database,
    ):
        empty.executescript(scripts["schema"])
        database.execute("ATTACH ':memory:' AS exported")
        database.deserialize(empty.serialize(), name="exported")
        database.executescript(scripts["rows"])
        return database.serialize(name="exported")


async def imported(tmp_path: Path, file: bytes) -> SqliteStore:
    """A new store that has taken over the runs of a file."""
    (tmp_path / "exported.db").write_bytes(file)
    driver = StandardDriver(tmp_path / "new.db")
    store = SqliteStore(driver)
    await store.migrate()
    driver.run("ATTACH :file AS imported", {"file": str(tmp_path / "exported.db")})
    await store.import_attached()
    return store


async def marked(store: SqliteStore, number: int, call_id: str | None = None) -> str:
    """A failed run that has the mark wherever it can be."""
    asked = new_run(
        f"{MARK}-{number}",
        {MARK: [MARK] * 500},
        idempotency_key=f"{MARK}-{number}",
        concurrency_key=MARK,
        labels={MARK: MARK},
    )
    run = (await store.enqueue(asked, NOW, call_id=call_id)).run
    claim = await store.claim_next(MARK, NOW, 30_000)
    assert claim is not None and claim.id == run.id
    await checkpointed(store, claim, name=MARK, output={MARK: MARK})
    await checkpointed(store, claim, name=f"{MARK} fails", status="failed", error=MARK)
    await store.update_progress(run.id, 1, Progress(1, 2, MARK), NOW)
    await logged(store, claim, MARK, data=MARK, step_name=MARK)
    await store.record_crash([run.id], MARK, NOW)
    assert await store.fail_run(run.id, 1, RunError(MARK, MARK, MARK), NOW, keep_steps=True)
    return run.id


async def test_holds_what_is_shown(store: SqliteStore, tmp_path: Path) -> None:
    run = await claimed(store, input={"a": 1.0}, labels={"shop": "é"})
    await checkpointed(store, run, output=[None])
    await logged(store, run, data={"b": 2**60})
    assert await store.complete_run(run.id, 1, "done", NOW, keep_steps=True)
    await completed(store, idempotency_key="order-1")
    await enqueued(store, concurrency_key="shop-1")
    await cancelled(store)
    other = await imported(tmp_path, exported(tmp_path / "runs.db"))
    assert await contents(other) == await contents(store)
    await other.close()


async def test_holds_crashes_of_its_runs(store: SqliteStore, tmp_path: Path) -> None:
    run = await claimed(store)
    await store.record_crash([run.id], "a trap", NOW)
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(exported(tmp_path / "runs.db"))
        assert database.execute("SELECT * FROM crashes").fetchall() == [(run.id, 1, "a trap", 0)]


@pytest.mark.parametrize("delete", ["delete_run", "purge_runs"])
async def test_holds_nothing_of_deleted_runs(store: SqliteStore, tmp_path: Path, delete: str) -> None:
    kept = await completed(store)
    gone = [await marked(store, number, call_id=f"call-{number}") for number in range(20)]
    with closing(sqlite3.connect(tmp_path / "runs.db")) as database:
        file = database.serialize()
        assert all(mark in file for mark in (b"4711", MARK.encode())), "the mark is found where it is"
    if delete == "delete_run":
        for run_id in gone:
            await store.delete_run(run_id)
    else:
        await store.delete_run(kept.id)
        assert await store.purge_runs(after(1), 100) == 20
        kept = await completed(store)
    await store.create_log(NewLog(gone[0], MARK, "info", MARK, data=MARK, created_at=NOW))  # one that came late
    file = exported(tmp_path / "runs.db")
    assert [mark for mark in TRACES if mark in file] == []
    other = await imported(tmp_path, file)
    assert await other.get_runs(ALL) == [kept]
    await other.close()


async def test_holds_nothing_of_the_steps_of_ended_runs(store: SqliteStore, tmp_path: Path) -> None:
    run = await claimed(store)
    await checkpointed(store, run, output=MARK)
    assert await store.complete_run(run.id, 1, None, NOW)
    assert b"4711" not in exported(tmp_path / "runs.db")
    assert await store.get_runs(ALL)


async def test_holds_no_pages_without_content(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(20):
        await store.delete_run(await marked(store, number))
    assert len(exported(tmp_path / "runs.db")) < 100_000
