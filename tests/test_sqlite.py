"""What is particular to the SQLite store: its file, its schema, its statements and their price."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from contract.given import (
    ALL,
    LEASE_MS,
    NOW,
    after,
    again,
    checkpointed,
    claimed,
    claimed_again,
    contents,
    enqueued,
    logged,
    new_run,
    new_step,
    raised,
)

from durably_wasm.errors import ConflictError, StoreError
from durably_wasm.models import Log, NewLog, NewRun, Run, RunError, RunFilter, Step
from durably_wasm.stores import SqliteStore
from durably_wasm.stores.migrations import VERSION, statements
from durably_wasm.stores.rows import SqlRow
from durably_wasm.stores.sql_driver import SqlValue, StandardDriver

SQL = Path(__file__).parents[1] / "durably_wasm" / "stores" / "sql"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
async def sqlite(file: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(file)
    await store.migrate()
    yield store
    await store.close()


@pytest.fixture
def raw(file: Path, sqlite: SqliteStore) -> Iterator[sqlite3.Connection]:
    """A connection of our own to the store's file."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def bytes_of(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def files_beside(file: Path) -> list[str]:
    return [path.name for path in file.parent.iterdir()]


async def test_a_path_may_be_text(file: Path) -> None:
    store = SqliteStore(str(file))
    await store.migrate()
    await enqueued(store)
    await store.close()
    assert files_beside(file) == [file.name]


async def test_nothing_is_created_before_it_is_migrated(file: Path) -> None:
    SqliteStore(file)
    assert files_beside(file) == []


async def test_a_store_that_is_not_open_says_so(file: Path) -> None:
    store = SqliteStore(file)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.enqueue(new_run(), NOW),
        lambda: store.claim_next("worker-1", NOW, LEASE_MS),
        lambda: store.get_run("a"),
        lambda: store.get_runs(ALL),
        lambda: store.persist_step("a", 1, new_step(), NOW),
        store.advance_epoch,
    ]
    for call in calls:
        assert "not open" in str(await raised(StoreError, call()))
    await store.migrate()
    await store.close()
    for call in calls[:4]:
        assert "not open" in str(await raised(StoreError, call()))


async def test_a_file_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    error = await raised(StoreError, SqliteStore(tmp_path / "no such folder" / "runs.db").migrate())
    assert "runs.db" in str(error)
    assert isinstance(error.__cause__, sqlite3.Error)


async def test_a_file_that_is_no_database_is_left_as_it_is(file: Path) -> None:
    write(file, b"name,city\nGare du Nord,Paris\n" * 100)
    assert "is not a SQLite database" in await refused_and_left_as_it_is(file)


async def test_a_corrupt_file_is_left_as_it_is(file: Path, sqlite: SqliteStore) -> None:
    await claimed(sqlite)
    await sqlite.close()
    whole = bytes_of(file)
    write(file, whole[:100] + b"\xff" * 200 + whole[300:])  # within the page that lists the tables
    assert "is corrupt" in await refused_and_left_as_it_is(file)


async def test_a_corrupt_file_in_another_journal_mode_is_left_in_it(file: Path, sqlite: SqliteStore) -> None:
    await sqlite.close()
    with closing(sqlite3.connect(file)) as other_app:
        other_app.execute("PRAGMA journal_mode = DELETE")
    write(file, bytes_of(file)[:4096])
    assert "is corrupt" in await refused_and_left_as_it_is(file)


async def test_a_locked_file_is_left_as_it_is(
    file: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, timeout=0))
    raw.execute("BEGIN EXCLUSIVE")
    assert "is locked by another connection" in await refused_and_left_as_it_is(file)
    raw.execute("ROLLBACK")
    store = SqliteStore(file)
    await store.migrate()
    await store.close()


async def test_a_read_only_file_is_left_as_it_is(unprivileged: Path) -> None:
    file = unprivileged / "runs.db"
    store = SqliteStore(file)
    await store.migrate()
    await store.close()
    write_protect(file)
    assert "is read-only" in await refused_and_left_as_it_is(file)


async def test_a_refusal_for_another_reason_than_room_is_no_full_store(unprivileged: Path) -> None:
    file = unprivileged / "runs.db"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="is not a SQLite database") as raised:
        await SqliteStore(file).migrate()
    assert not raised.value.is_full


def write_protect(file: Path) -> None:
    file.chmod(0o444)
    file.parent.chmod(0o555)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder whose permissions bind us too, as they do not bind root."""
    nobody, user = 65534, os.geteuid()
    with TemporaryDirectory() as folder:
        if user == 0:
            os.chown(folder, nobody, nobody)
            os.seteuid(nobody)
        try:
            yield Path(folder)
        finally:
            os.chmod(folder, 0o700)
            os.seteuid(user)


async def refused_and_left_as_it_is(file: Path) -> str:
    before, beside = bytes_of(file), files_beside(file)
    store = SqliteStore(file)
    error = await raised(StoreError, store.migrate())
    await raised(StoreError, store.enqueue(new_run(), NOW))
    await store.close()
    assert isinstance(error.__cause__, sqlite3.Error)
    assert (bytes_of(file), files_beside(file)) == (before, beside)
    return str(error)


async def test_a_schema_that_fails_is_not_half_applied(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other_app:
        other_app.execute("CREATE TABLE runs (distance INTEGER)")
        other_app.commit()
    store = SqliteStore(file)
    await raised(StoreError, store.migrate())
    await store.close()
    with closing(sqlite3.connect(file)) as other_app:
        assert other_app.execute("SELECT name FROM sqlite_schema").fetchall() == [("runs",)]
        assert other_app.execute("PRAGMA user_version").fetchone() == (0,)


@pytest.fixture
async def newer(file: Path) -> SqliteStore:
    """A store on a file that a newer version wrote."""
    store = SqliteStore(file)
    await store.migrate()
    await claimed(store, input="precious")
    await store.close()
    with closing(sqlite3.connect(file)) as newer_app:
        newer_app.execute(f"PRAGMA user_version = {VERSION + 1}")
        newer_app.commit()
    return SqliteStore(file)


async def test_a_newer_schema_is_refused(newer: SqliteStore, file: Path) -> None:
    before = bytes_of(file)
    message = str(await raised(StoreError, newer.migrate()))
    assert str(VERSION + 1) in message and str(VERSION) in message and "newer" in message
    await newer.close()
    assert bytes_of(file) == before
    assert files_beside(file) == [file.name]


async def test_a_newer_schema_is_not_written_to_after_the_refusal(newer: SqliteStore, file: Path) -> None:
    before = bytes_of(file)
    await raised(StoreError, newer.migrate())
    await raised(StoreError, newer.enqueue(new_run(), NOW))
    await raised(StoreError, newer.claim_next("worker-2", after(86_400_000), LEASE_MS))
    await newer.close()
    assert bytes_of(file) == before


async def test_a_newer_schema_in_another_journal_mode_is_left_in_it(newer: SqliteStore, file: Path) -> None:
    with closing(sqlite3.connect(file)) as newer_app:
        newer_app.execute("PRAGMA journal_mode = DELETE")
    before = bytes_of(file)
    await raised(StoreError, newer.migrate())
    await newer.close()
    assert bytes_of(file) == before


async def test_columns_are_in_the_order_of_the_fields(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    """Rows are read by position (`stores.rows`)."""
    of_runs = [field.name for field in fields(Run) if field.name not in ("input", "output")]
    assert _columns(raw, "runs") == of_runs
    assert _columns(raw, "steps") == [field.name for field in fields(Step)]
    assert _columns(raw, "logs") == [field.name for field in fields(Log)]


async def test_the_database_itself_holds_the_rules_of_keys(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    for job in ("import", "export"):
        await enqueued(sqlite, job_name=job, idempotency_key=job, concurrency_key="shop-1")
    for rule, change in (
        ("one leased run a key", "UPDATE runs SET status = 'leased'"),
        ("one pending run a job and key", "UPDATE runs SET job_name = 'import'"),
        (
            "one run a job and idempotency key",
            "UPDATE runs SET job_name = 'a', idempotency_key = 'b', status = 'failed'",
        ),
    ):
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            raw.execute(change)
            pytest.fail(rule)


async def test_the_database_carries_its_version(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    assert raw.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_reads_say_which_schema_they_are_for() -> None:
    assert f"\n-- schema: {VERSION}\n" in (SQL / "reads.sql").read_text("utf-8")


def test_statements_are_named_once() -> None:
    written = sum((SQL / name).read_text("utf-8").count("-- name: ") for name in ("reads.sql", "writes.sql"))
    assert len(statements()) == written


def _columns(raw: sqlite3.Connection, table: str) -> list[str]:
    return [column[1] for column in raw.execute(f"PRAGMA table_info({table})")]


async def test_two_stores_share_a_file(file: Path, sqlite: SqliteStore) -> None:
    other = SqliteStore(file)
    await other.migrate()
    runs = [await enqueued(store, now=after(n)) for n, store in enumerate((sqlite, other, sqlite, other))]
    claims = [
        await store.claim_next(f"worker-{n}", after(10), LEASE_MS)
        for n, store in enumerate((other, sqlite, sqlite, other))
    ]
    assert [run and run.id for run in claims] == [run.id for run in runs]
    assert await contents(sqlite) == await contents(other)
    await other.close()


async def test_a_writer_does_not_hinder_a_reader(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    run = await enqueued(sqlite)
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("UPDATE runs SET status = 'cancelled'")
    assert await sqlite.get_run(run.id) == run, "what is not committed is not read"
    raw.execute("ROLLBACK")
    assert await claimed(sqlite)


class WatchedDriver(StandardDriver):
    """Tries, after each statement, whether another process could write now."""

    def __init__(self, path: Path, other: sqlite3.Connection) -> None:
        super().__init__(path)
        self.could_write: list[tuple[str, bool]] = []
        self._other = other

    def run(self, sql: str, values: Mapping[str, SqlValue]) -> list[SqlRow]:
        rows = super().run(sql, values)
        self.could_write.append((sql.split()[0], self._can_write()))
        return rows

    def _can_write(self) -> bool:
        try:
            self._other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        self._other.execute("ROLLBACK")
        return True


async def test_nobody_writes_between_the_statements_of_an_operation(file: Path, sqlite: SqliteStore) -> None:
    await enqueued(sqlite, idempotency_key="order-1")
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as other:
        driver = WatchedDriver(file, other)
        store = SqliteStore(driver)
        await store.migrate()
        for call in (
            lambda: store.enqueue(new_run(idempotency_key="order-1"), NOW),
            lambda: store.claim_next("worker-1", NOW, LEASE_MS),
            lambda: store.purge_runs(NOW, 10),
        ):
            driver.could_write = []
            await call()
            held, [last] = driver.could_write[:-1], driver.could_write[-1:]
            assert held[0] == ("BEGIN", False) and not any(could for _, could in held), held
            assert last == ("COMMIT", True)
        await store.close()


async def test_a_deleted_run_leaves_nothing_behind(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    for delete in (lambda run: sqlite.delete_run(run.id), lambda run: sqlite.purge_runs(after(1_000), 10)):
        run = await claimed(sqlite, input=[1], idempotency_key="order-1")
        await checkpointed(sqlite, run)
        await logged(sqlite, run)
        await sqlite.record_crash([run.id], "a trap", NOW)
        run = await claimed_again(sqlite, run)
        assert await sqlite.complete_run(run.id, run.lease_generation, [2], NOW, keep_steps=True)
        await delete(run)
        for table in ("runs", "payloads", "steps", "logs", "crashes"):
            assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert raw.execute("SELECT key FROM meta").fetchall() == [("epoch",)]


class FailingDriver(StandardDriver):
    """A database that refuses a statement when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.refused: list[str] = []

    def run(self, sql: str, values: Mapping[str, SqlValue]) -> list[SqlRow]:
        if self.refused and sql.startswith(self.refused[0]):
            raise StoreError(f"The database refused: {self.refused.pop(0)}")
        return super().run(sql, values)


@pytest.fixture
async def failing(file: Path) -> AsyncIterator[tuple[SqliteStore, FailingDriver]]:
    driver = FailingDriver(file)
    store = SqliteStore(driver)
    await store.migrate()
    yield store, driver
    await store.close()


async def test_a_refused_statement_undoes_the_whole_operation(failing: tuple[SqliteStore, FailingDriver]) -> None:
    store, driver = failing
    run = await claimed(store)
    await checkpointed(store, run)
    before = await contents(store)
    for statement, call in (
        ("INSERT INTO payloads", lambda: store.enqueue(new_run(), after(1))),
        ("INSERT INTO payloads", lambda: store.complete_run(run.id, 1, "output", after(1))),
        ("DELETE FROM steps", lambda: store.fail_run(run.id, 1, RunError("boom"), after(1))),
        ("DELETE FROM steps", lambda: store.cancel_run(run.id, after(1))),
        ("DELETE FROM runs", lambda: store.delete_run(run.id)),
        ("UPDATE runs", lambda: store.persist_step(run.id, 1, new_step("save", 1), after(1))),
    ):
        driver.refused = [statement]
        assert statement in str(await raised(StoreError, call()))
        assert await contents(store) == before, statement
    await checkpointed(store, run, name="save", index=1)


async def test_a_refused_commit_undoes_the_operation_and_leaves_the_store_usable(
    failing: tuple[SqliteStore, FailingDriver],
) -> None:
    store, driver = failing
    run = await claimed(store)
    driver.refused = ["COMMIT"]
    await raised(StoreError, store.persist_step(run.id, 1, new_step(), after(1)))
    assert await store.get_steps(run.id) == []
    await checkpointed(store, run)


async def test_an_engine_stays_fenced_off_when_it_fails_to_advance_the_epoch(
    failing: tuple[SqliteStore, FailingDriver], file: Path
) -> None:
    store, driver = failing
    await store.advance_epoch()
    present = SqliteStore(file)
    await present.migrate()
    await present.advance_epoch()
    driver.refused = ["BEGIN"]
    await raised(StoreError, store.advance_epoch())
    await raised(StoreError, store.enqueue(new_run(), NOW))
    assert await present.get_runs(ALL) == []
    await present.close()


async def test_a_conflict_leaves_no_transaction_open(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    await enqueued(sqlite, concurrency_key="shop-1")
    await raised(ConflictError, sqlite.enqueue_many([new_run(), new_run(concurrency_key="shop-1")], NOW))
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("ROLLBACK")


async def test_a_checkpoint_does_not_touch_the_payloads(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    run = await claimed(sqlite, input="x" * 100_000)
    for change in ("INSERT", "UPDATE", "DELETE"):
        raw.execute(
            f"CREATE TRIGGER refuse_{change} BEFORE {change} ON payloads "
            f"BEGIN SELECT RAISE(ABORT, 'a payload was written'); END"
        )
    await checkpointed(sqlite, run, output="rows")
    await checkpointed(sqlite, run, name="save", index=1, status="failed", error="boom")
    assert (await again(sqlite, run)).completed_step_count == 1
    error = await raised(StoreError, sqlite.complete_run(run.id, 1, "output", after(1)))
    assert "a payload was written" in str(error), "the guard itself works"


async def test_a_checkpoint_writes_as_much_with_a_large_input_as_with_a_small_one(tmp_path: Path) -> None:
    written = {}
    for size in (10, 1_000_000):
        file = tmp_path / f"{size}.db"
        store = SqliteStore(file)
        await store.migrate()
        run = await claimed(store, input="x" * size)
        with closing(sqlite3.connect(file)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        wal = file.with_name(f"{file.name}-wal")
        await checkpointed(store, run, output="rows")
        written[size] = wal.stat().st_size
        await store.close()
    assert written[1_000_000] == written[10] > 0


async def test_a_checkpoint_touches_no_index_of_runs(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    changed = {"current_step_index", "completed_step_count", "progress", "lease_expires_at", "updated_at"}
    for [name] in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'runs'").fetchall():
        indexed = {column[2] for column in raw.execute(f"PRAGMA index_info({name})")}
        assert not indexed & changed, name


SAMPLE: dict[str, SqlValue] = {
    "id": "a",
    "run_id": "a",
    "name": "parse",
    "key": "shop-1",
    "job_name": "import",
    "jobs": '["import","export"]',
    "exclude": '["b"]',
    "call_ids": '["c"]',
    "now": NOW,
    "epoch": 2,
    "generation": 1,
    "index": 0,
    "status": "completed",
    "output": "null",
    "value": "null",
    "kind": "input",
    "error": None,
    "error_type": None,
    "error_traceback": None,
    "started_at": NOW,
    "expires_at": NOW,
    "worker_id": "worker-1",
    "progress": None,
    "count": 1,
    "reason": "a trap",
    "completed_step_count": 0,
    "older_than": NOW,
    "limit": 10,
    "offset": 0,
    "statuses": None,
    "labels": "{}",
    "idempotency_key": None,
    "concurrency_key": None,
    "step_name": None,
    "level": "info",
    "message": "",
    "input": "null",
    "outcome": "null",
    "data": "null",
    "created_at": NOW,
}


@pytest.mark.parametrize("name", sorted(statements()))
def test_no_statement_reads_a_whole_table(name: str) -> None:
    plan = plan_of(name)
    scans = [step for step in plan if step.startswith("SCAN") and not _is_harmless(step, name)]
    assert not scans, plan


def plan_of(name: str) -> list[str]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript((SQL / "schema_1.sql").read_text("utf-8"))
        return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statements()[name]}", SAMPLE)]


def _is_harmless(scan: str, statement: str) -> bool:
    """The lists that are handed in, one computed row, the runs in their order up to a limit, and the calls."""
    if "VIRTUAL TABLE" in scan or "CONSTANT ROW" in scan or scan.startswith("SCAN (subquery"):
        return True
    if statement == "call_ids":
        return True  # when an engine starts, and few are there
    in_order = {"runs": "SCAN runs USING INDEX runs_by_age", "newest_run": "SCAN runs USING COVERING INDEX runs_by_age"}
    return in_order.get(statement) == scan


@pytest.mark.parametrize(
    ("name", "sorts"), [("runs", 0), ("newest_run", 0), ("oldest_ended", 0), ("due_of_jobs", 1), ("due_of_any_job", 1)]
)
def test_runs_are_read_in_order_and_not_sorted(name: str, sorts: int) -> None:
    """A claim sorts once: what is over and the oldest pending run of each job."""
    assert sum("ORDER BY" in step for step in plan_of(name)) == sorts


def test_a_claim_does_not_look_at_the_backlog_of_other_jobs() -> None:
    assert "SEARCH pending USING INDEX runs_pending_by_job (job_name=?)" in plan_of("due_of_jobs")


async def test_numbers_that_look_like_text_stay_text(sqlite: SqliteStore) -> None:
    new = NewRun("1", "1", "2", "3", None, {"4": "5"})
    run = (await sqlite.enqueue(new, NOW)).run
    assert (run.job_name, run.input, run.idempotency_key, run.concurrency_key) == ("1", "1", "2", "3")
    assert await sqlite.get_runs(RunFilter(job_name="1", labels={"4": "5"})) == [run]
    assert await sqlite.claim_next("6", NOW, LEASE_MS, jobs=["1"], exclude=["1"]) is not None
    line = await sqlite.create_log(NewLog(run.id, "7", "info", "8", data=9, created_at=NOW))
    assert await sqlite.get_logs(run.id) == [line]


async def test_a_payload_is_kept_as_text(sqlite: SqliteStore, raw: sqlite3.Connection) -> None:
    values: dict[str, Any] = {"b": 1.0, "a": [2**60, "ü"]}
    await enqueued(sqlite, input=values)
    [[kind, text]] = raw.execute("SELECT kind, value FROM payloads").fetchall()
    assert (kind, text) == ("input", r'{"b":1.0,"a":[1152921504606846976,"\u00fc"]}')
