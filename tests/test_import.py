"""What an imported file may hold.

In the browser JavaScript attaches it; here `ATTACH` does, and the same Python code checks it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from contract.given import (
    ALL,
    LATER,
    LEASE_MS,
    NOW,
    cancelled,
    checkpointed,
    claimed,
    completed,
    contents,
    enqueued,
    failed,
    leased,
    logged,
    raised,
)

from durably_wasm.errors import ConflictError, StoreError
from durably_wasm.models import Progress, RunFilter
from durably_wasm.stores import SqliteStore
from durably_wasm.stores.migrations import VERSION
from durably_wasm.stores.sql_driver import StandardDriver

Attach = Callable[[Path], Awaitable[SqliteStore]]

DEEP = "[" * 100_000 + "]" * 100_000
SURROGATE = "CAST(x'22eda08022' AS TEXT)"  # a half surrogate pair in quotes: Python does not decode it
NOT_UTF8 = "CAST(x'ff61' AS TEXT)"
INSERT_CANCELLED = (
    "INSERT INTO runs (id, job_name, status, labels, completed_at, created_at, updated_at) "
    "SELECT {}, job_name, status, labels, completed_at, created_at, updated_at FROM runs, {} "
    "WHERE status = 'cancelled' AND id < 'A'"
)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A file with a run in each status and all that a run can have, written by the store."""
    path = tmp_path / "other.db"
    store = SqliteStore(path)
    await store.migrate()
    run = await claimed(store, input={"file": "é\ud800", "n": 1.5}, labels={"shop": "é"}, concurrency_key="shop-1")
    await checkpointed(store, run, output=[1, None])
    await checkpointed(store, run, name="save", index=1, status="failed", error="boom \0 \U0001f4a5")
    await store.update_progress(run.id, run.lease_generation, Progress(1, None, "half"), NOW)
    await logged(store, run, "a line\nand another", level="warn", step_name="parse", data={"a": [True]})
    await store.record_crash([run.id], "a trap", NOW)
    await enqueued(store, idempotency_key="order-1", concurrency_key="shop-1")
    await completed(store, output={"rows": 2**60}, idempotency_key="order-2")
    await failed(store)
    await cancelled(store)
    await store.close()
    return path


@pytest.fixture
async def attach(tmp_path: Path) -> Attach:
    """Open a store that holds a run, with a file attached to it as `imported`."""
    open = SqliteStore(tmp_path / "runs.db")
    await open.migrate()
    await enqueued(open, input="precious")
    await open.close()

    async def attached(file: Path) -> SqliteStore:
        driver = StandardDriver(tmp_path / "runs.db")
        store = SqliteStore(driver)
        await store.migrate()
        driver.run("ATTACH :file AS imported", {"file": str(file)})
        return store

    return attached


async def import_error(attach: Attach, file: Path) -> str:
    """Import a file that is refused, check that all is as before, and return what the error says."""
    store = await attach(file)
    before = await contents(store)
    error = str(await raised(StoreError, store.import_attached()))
    assert error.startswith("The file cannot be imported: ")
    assert await contents(store) == before
    await enqueued(store)
    await store.close()
    return error


def change(file: Path, *statements: str, unchecked: bool = False) -> None:
    """Change the file; `unchecked` ignores the schema's constraints."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute(f"PRAGMA ignore_check_constraints = {unchecked}")
        for statement in statements:
            database.execute(statement)


def rewrite_schema(file: Path, table: str, old: str, new: str, *statements: str) -> None:
    """Change a table's definition, without its pages, change the file, and give the table its definition back."""
    for one, other in ((old, new), (new, old)):
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            [[sql]] = database.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
            assert one in sql
            database.execute("PRAGMA writable_schema = ON")
            values = (sql.replace(one, other), table)
            database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", values)
        if one == old:
            change(file, *statements)


class TestSound:
    async def test_is_taken_over_whole(self, file: Path, attach: Attach) -> None:
        other = SqliteStore(file)
        await other.migrate()
        expected = [
            (replace(run, lease_owner="imported", lease_expires_at="1970-01-01T00:00:00.000Z"), *rest)
            if run.status == "leased"
            else (run, *rest)
            for run, *rest in await contents(other)
        ]
        await other.close()
        store = await attach(file)
        epoch = await store.advance_epoch()
        await store.import_attached()
        assert await contents(store) == expected
        assert await store.advance_epoch() == epoch + 1
        await store.close()

    async def test_is_read_by_a_connection_that_trusts_no_schema(self, file: Path, tmp_path: Path) -> None:
        driver = StandardDriver(tmp_path / "runs.db")
        store = SqliteStore(driver)
        await store.migrate()
        driver.run("ATTACH :file AS imported", {"file": str(file)})
        await store.import_attached()
        assert driver.run("PRAGMA trusted_schema", {}) == [(0,)]
        await store.close()

    async def test_gives_its_leased_runs_back_at_once(self, file: Path, attach: Attach) -> None:
        change(file, "UPDATE runs SET created_at = '9000-01-01T00:00:00.000Z' WHERE status = 'leased'")
        store = await attach(file)
        await store.import_attached()
        run = await store.claim_next("worker-2", LATER, LEASE_MS)
        assert run is not None and run.started_at == NOW and run.lease_generation == 2
        await store.close()

    async def test_may_be_taken_over_again_from_an_imported_one(
        self, file: Path, attach: Attach, tmp_path: Path
    ) -> None:
        store = await attach(file)
        await store.import_attached()
        before = await contents(store)
        with closing(sqlite3.connect(tmp_path / "runs.db")) as database:
            database.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
        await store.close()
        await SqliteStore(tmp_path / "runs.db").close()
        change(tmp_path / "runs.db", "DELETE FROM runs")
        store = await attach(tmp_path / "copy.db")
        await store.import_attached()
        assert await contents(store) == before
        await store.close()

    @pytest.mark.parametrize(
        "statement",
        [
            "VACUUM",
            "PRAGMA journal_mode = WAL",
            "PRAGMA application_id = 7",
            "INSERT INTO calls VALUES ('call-1', 'no JSON')",
            "DELETE FROM meta",
            "UPDATE payloads SET value = ' { \"a\" : \"é\" } ' WHERE kind = 'input'",
        ],
    )
    async def test_may_differ_in_what_no_run_shows(self, file: Path, attach: Attach, statement: str) -> None:
        change(file, statement)
        store = await attach(file)
        await store.import_attached()
        assert len(await store.get_runs(ALL)) == 5
        assert await store.get_call_ids() == []
        await store.close()

    async def test_has_its_labels_in_the_form_that_a_filter_finds(self, file: Path, attach: Attach) -> None:
        change(file, """UPDATE runs SET labels = ' { "shop" : "é" } '""")
        store = await attach(file)
        await store.import_attached()
        assert len(await store.get_runs(RunFilter(labels={"shop": "é"}))) == 5
        await store.close()

    async def test_leaves_what_no_column_shows(self, file: Path, attach: Attach, tmp_path: Path) -> None:
        last = "updated_at TEXT NOT NULL"
        rewrite_schema(file, "runs", last, f"{last}, extra TEXT", "UPDATE runs SET extra = 'not a column of ours'")
        store = await attach(file)
        await store.import_attached()
        with closing(sqlite3.connect(tmp_path / "runs.db")) as database:
            assert b"not a column of ours" not in database.serialize()
        await store.close()

    async def test_for_which_there_is_no_room_is_not_to_blame(self, file: Path, tmp_path: Path) -> None:
        class FullDriver(StandardDriver):
            def script(self, sql: str) -> None:
                if "INSERT INTO runs" in sql:
                    raise StoreError("The database has no room left", is_full=True)
                super().script(sql)

        driver = FullDriver(tmp_path / "runs.db")
        store = SqliteStore(driver)
        await store.migrate()
        driver.run("ATTACH :file AS imported", {"file": str(file)})
        error = await raised(StoreError, store.import_attached())
        assert (error.is_full, str(error)) == (True, "The database has no room left")
        await store.close()

    async def test_is_read_in_pieces(self, tmp_path: Path, attach: Attach) -> None:
        other = SqliteStore(tmp_path / "other.db")
        await other.migrate()
        runs = [await completed(other, output=number) for number in range(130)]
        await other.close()
        store = await attach(tmp_path / "other.db")
        await store.import_attached()
        assert await store.get_runs(ALL) == runs[::-1]
        await store.close()
        change(tmp_path / "other.db", f"UPDATE payloads SET value = 'x' WHERE run_id = '{runs[-1].id}'")
        error = await import_error(attach, tmp_path / "other.db")
        assert f"payloads, row '{runs[-1].id}, input', column value" in error

    async def test_is_refused_while_a_run_is_leased(self, file: Path, attach: Attach) -> None:
        store = await attach(file)
        [run] = await store.get_runs(ALL)
        run = await leased(store, run)
        assert run.id in str(await raised(ConflictError, store.import_attached()))
        assert await store.get_runs(ALL) == [run]
        await store.close()


COLUMN = [
    ("runs", "id", "''", "is empty"),
    ("runs", "id", "'a' || char(0)", "NUL"),
    ("runs", "id", "x'ff'", "BLOB"),
    ("runs", "job_name", "''", "is empty"),
    ("runs", "job_name", "'a' || char(0) || 'b'", "NUL"),
    ("runs", "job_name", "printf('%1001d', 1)", "more than 1000"),
    ("runs", "job_name", NOT_UTF8, "not UTF-8"),
    ("runs", "job_name", "x'61'", "BLOB"),
    ("runs", "status", "'paused'", "none of pending"),
    ("runs", "status", "x'70656e64696e67'", "BLOB"),
    ("runs", "idempotency_key", "''", "is empty"),
    ("runs", "idempotency_key", "x'00'", "BLOB"),
    ("runs", "concurrency_key", "char(0)", "NUL"),
    ("runs", "current_step_index", "-1", "whole number"),
    ("runs", "current_step_index", "9223372036854775807", "whole number"),
    ("runs", "current_step_index", "1.5", "floating-point"),
    ("runs", "current_step_index", "9e999", "floating-point"),
    ("runs", "current_step_index", "'many'", "whole number"),
    ("runs", "completed_step_count", "-1", "whole number"),
    ("runs", "completed_step_count", "9007199254740993", "whole number"),
    ("runs", "progress", "'half'", "not JSON"),
    ("runs", "progress", "'null'", "current, total and message"),
    ("runs", "progress", "'[1, 2, null]'", "current, total and message"),
    ("runs", "progress", """'{"current": 1}'""", "current, total and message"),
    ("runs", "progress", """'{"current": 1, "total": 2, "message": null, "more": 3}'""", "current, total and message"),
    ("runs", "progress", """'{"current": null, "total": 2, "message": null}'""", "not a number"),
    ("runs", "progress", """'{"current": 1, "total": "2", "message": null}'""", "not a number"),
    ("runs", "progress", """'{"current": 1e999, "total": 2, "message": null}'""", "current, total and message"),
    ("runs", "progress", """'{"current": 1, "total": 2, "message": 3}'""", "not text"),
    ("runs", "error", NOT_UTF8, "not UTF-8"),
    ("runs", "error_type", "x'61'", "BLOB"),
    ("runs", "labels", "''", "not JSON"),
    ("runs", "labels", "'[]'", "object of texts"),
    ("runs", "labels", "'null'", "object of texts"),
    ("runs", "labels", """'{"a": 1}'""", "object of texts"),
    ("runs", "labels", """'{"": "a"}'""", "key that is empty"),
    ("runs", "labels", r"""'{"a\u0000": "a"}'""", "NUL"),
    ("runs", "labels", r"""'{"\ud800": "a"}'""", "surrogate"),
    ("runs", "labels", "x'7b7d'", "BLOB"),
    ("runs", "lease_generation", "-1", "whole number"),
    ("runs", "lease_generation", "9223372036854775807", "whole number"),
    ("runs", "started_at", "'yesterday'", "not a time"),
    ("runs", "created_at", "'2026-01-01'", "not a time"),
    ("runs", "created_at", "'2026-01-01T00:00:00Z'", "not a time"),
    ("runs", "created_at", "'2026-01-01T00:00:00.000+00:00'", "not a time"),
    ("runs", "created_at", "'2026-01-01 00:00:00.000Z'", "not a time"),
    ("runs", "created_at", "'2026-01-01T00:00:00.000000Z'", "not a time"),
    ("runs", "created_at", "'2026-02-30T00:00:00.000Z'", "not a time"),
    ("runs", "created_at", "'2026-01-01T24:00:00.000Z'", "not a time"),
    ("runs", "created_at", "'0001-01-01T00:00:00.000Z'", "not a time"),
    ("runs", "created_at", "'9999-12-31T23:59:59.999Z'", "not a time"),
    ("runs", "created_at", "'\uff12026-01-01T00:00:00.000Z'", "not a time"),
    ("runs", "created_at", "1767225600", "not a time"),
    ("runs", "updated_at", "''", "not a time"),
    ("payloads", "kind", "'between'", "none of input, output"),
    ("payloads", "value", "''", "not JSON"),
    ("payloads", "value", "'NaN'", "not JSON"),
    ("payloads", "value", "'[-Infinity]'", "not JSON"),
    ("payloads", "value", "'[1e999]'", "not JSON"),
    ("payloads", "value", "printf('1%05000d', 0)", "not JSON"),
    ("payloads", "value", "'{a: 1}'", "not JSON"),
    ("payloads", "value", "'[1,]'", "not JSON"),
    ("payloads", "value", "'01'", "not JSON"),
    ("payloads", "value", "'null' || char(0)", "not JSON"),
    ("payloads", "value", "'1 2'", "not JSON"),
    ("payloads", "value", "x'6e756c6c'", "BLOB"),
    ("payloads", "value", SURROGATE, "not UTF-8"),
    ("payloads", "value", f"'{DEEP}'", "nested too deeply"),
    ("payloads", "value", f"'{DEEP[:100_000]}'", "not JSON"),
    ("steps", "name", "''", "is empty"),
    ("steps", "index", "-1", "whole number"),
    ("steps", "index", "9223372036854775807", "whole number"),
    ("steps", "index", "'first'", "whole number"),
    ("steps", "status", "'leased'", "none of completed, failed"),
    ("steps", "output", "'None'", "not JSON"),
    ("steps", "error", "x'00'", "BLOB"),
    ("steps", "started_at", "'now'", "not a time"),
    ("steps", "completed_at", "'now'", "not a time"),
    ("logs", "id", "''", "is empty"),
    ("logs", "step_name", "''", "is empty"),
    ("logs", "level", "'debug'", "none of info, warn, error"),
    ("logs", "message", NOT_UTF8, "not UTF-8"),
    ("logs", "data", "'NaN'", "not JSON"),
    ("logs", "created_at", "'2026-01-01T00:00:60.000Z'", "not a time"),
    ("crashes", "count", "-1", "whole number"),
    ("crashes", "count", "'often'", "whole number"),
    ("crashes", "reason", "x'00'", "BLOB"),
    ("crashes", "completed_step_count", "0.5", "floating-point"),
]

KEYS = {"runs": "id", "payloads": "run_id, kind", "steps": "run_id, name", "logs": "id", "crashes": "run_id"}


@pytest.mark.parametrize(("table", "column", "value", "reason"), COLUMN)
async def test_a_value_that_no_run_of_ours_has_is_refused(
    file: Path, attach: Attach, table: str, column: str, value: str, reason: str
) -> None:
    first = f"SELECT {KEYS[table]} FROM {table} ORDER BY {KEYS[table]} LIMIT 1"
    change(file, f'UPDATE {table} SET "{column}" = {value} WHERE ({KEYS[table]}) = ({first})', unchecked=True)
    error = await import_error(attach, file)
    assert f"in table {table}, row " in error and f"column {column} " in error and reason in error


@pytest.mark.parametrize(
    ("column", "status", "value"),
    [
        ("lease_owner", "leased", "NULL"),
        ("lease_expires_at", "leased", "NULL"),
        ("completed_at", "completed", "NULL"),
        ("completed_at", "failed", "NULL"),
        ("completed_at", "cancelled", "NULL"),
        ("error", "failed", "NULL"),
        ("lease_owner", "pending", "'worker-1'"),
        ("lease_owner", "completed", "'worker-1'"),
        ("lease_expires_at", "pending", f"'{NOW}'"),
        ("completed_at", "pending", f"'{NOW}'"),
        ("completed_at", "leased", f"'{NOW}'"),
        ("error", "completed", "'boom'"),
        ("error", "pending", "'boom'"),
        ("error", "cancelled", "'boom'"),
        ("error_type", "completed", "'ValueError'"),
        ("error_traceback", "leased", "'File …'"),
    ],
)
async def test_a_column_that_does_not_fit_the_status_is_refused(
    file: Path, attach: Attach, column: str, status: str, value: str
) -> None:
    change(file, f"UPDATE runs SET {column} = {value} WHERE status = '{status}'")
    error = await import_error(attach, file)
    assert f"column {column} is" in error and f"the status is '{status}'" in error


async def test_an_error_of_a_completed_step_is_refused(file: Path, attach: Attach) -> None:
    change(file, "UPDATE steps SET error = 'boom' WHERE status = 'completed'")
    assert "steps, row" in (error := await import_error(attach, file)) and "parse', column error is" in error


@pytest.mark.parametrize(
    ("statement", "parts"),
    [
        ("DELETE FROM payloads WHERE kind = 'input'", ("payloads", "input'", "is missing")),
        ("DELETE FROM payloads WHERE kind = 'output'", ("payloads", "output'", "is missing")),
        (
            "UPDATE payloads SET kind = 'output' WHERE run_id = (SELECT id FROM runs WHERE status = 'pending')",
            ("missing",),
        ),
        (
            "INSERT INTO payloads SELECT id, 'output', '1' FROM runs WHERE status = 'leased'",
            ("payloads", "output'", "not completed"),
        ),
        ("INSERT INTO payloads VALUES ('a', 'input', 'null')", ("payloads", "row 'a'", "run_id", "no run")),
        ("UPDATE steps SET run_id = 'a'", ("steps", "row 'a'", "run_id", "no run")),
        ("UPDATE logs SET run_id = 'a'", ("logs", "row 'a'", "run_id", "no run")),
        ("UPDATE crashes SET run_id = 'a'", ("crashes", "row 'a'", "run_id", "no run")),
        ("DELETE FROM runs", ("no run",)),
    ],
)
async def test_rows_that_do_not_belong_together_are_refused(
    file: Path, attach: Attach, statement: str, parts: tuple[str, ...]
) -> None:
    change(file, statement)
    error = await import_error(attach, file)
    assert all(part in error for part in parts), error


@pytest.mark.parametrize(
    ("index", "statement", "column"),
    [
        ("runs_by_idempotency_key", "UPDATE runs SET idempotency_key = 'order-1'", "idempotency_key"),
        (
            "runs_by_pending_key",
            "UPDATE runs SET status = 'pending', concurrency_key = 'shop-1', lease_owner = NULL, "
            "lease_expires_at = NULL, completed_at = NULL, error = NULL, error_type = NULL, error_traceback = NULL",
            "concurrency_key",
        ),
        (
            "runs_by_leased_key",
            "UPDATE runs SET status = 'leased', concurrency_key = 'shop-1', lease_owner = 'a', "
            "lease_expires_at = created_at, completed_at = NULL, error = NULL, error_type = NULL, "
            "error_traceback = NULL",
            "concurrency_key",
        ),
    ],
)
async def test_a_key_that_two_runs_have_is_refused(
    file: Path, attach: Attach, index: str, statement: str, column: str
) -> None:
    output = "DELETE FROM payloads WHERE kind = 'output'"
    rewrite_schema(file, index, "CREATE UNIQUE INDEX", "CREATE INDEX", statement, output)
    error = await import_error(attach, file)
    assert f"column {column} is that of another run" in error


@pytest.mark.parametrize(
    ("table", "column", "type", "value", "reason"),
    [
        ("runs", "job_name", " TEXT NOT NULL", "5", "not text, but int"),
        ("runs", "job_name", " TEXT NOT NULL", "NULL", "not text, but NULL"),
        ("runs", "labels", " TEXT NOT NULL", "NULL", "not a JSON object"),
        ("runs", "error_traceback", " TEXT", "5", "not text, but int"),
        ("runs", "updated_at", " TEXT NOT NULL", "NULL", "not a time"),
        ("runs", "lease_generation", " INTEGER NOT NULL DEFAULT 0", "NULL", "whole number"),
        ("payloads", "value", " TEXT NOT NULL", "NULL", "not text, but NULL"),
        ("payloads", "value", " TEXT NOT NULL", "5", "not text, but int"),
        ("steps", "output", " TEXT NOT NULL", "1.5", "floating-point"),
        ("logs", "message", " TEXT NOT NULL", "NULL", "not text, but NULL"),
        ("crashes", "reason", " TEXT NOT NULL", "7", "not text, but int"),
    ],
)
async def test_a_value_behind_the_columns_type_is_refused(
    file: Path, attach: Attach, table: str, column: str, type: str, value: str, reason: str
) -> None:
    if table == "runs" and column == "error_traceback":
        change(file, "UPDATE runs SET error_traceback = NULL")
    rewrite_schema(file, table, f"{column}{type}", column, f"UPDATE {table} SET {column} = {value}")
    error = await import_error(attach, file)
    assert f"in table {table}, row " in error and f"column {column} " in error and reason in error


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["DROP TABLE runs", f"CREATE VIEW runs AS {ENDLESS}"], "runs"),
        (["DROP TABLE logs", f"CREATE VIEW logs AS {ENDLESS}"], "logs"),
        ([f"CREATE VIEW extra AS {ENDLESS}"], "view extra"),
        (["CREATE TABLE extra (a)"], "table extra"),
        (["ANALYZE"], "sqlite_stat1"),
        (["CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END"], "trigger t"),
        (
            [f"CREATE TRIGGER t BEFORE UPDATE ON runs BEGIN INSERT INTO calls SELECT i, i FROM ({ENDLESS}); END"],
            "trigger t",
        ),
        (["CREATE INDEX extra ON runs (hex(zeroblob(length(id))))"], "index extra"),
        (["CREATE INDEX extra ON runs (error)"], "index extra"),
        (["CREATE INDEX extra ON runs (id) WHERE json_valid(labels)"], "index extra"),
        (["CREATE VIRTUAL TABLE extra USING fts5(a)"], "extra"),
        (["DROP TABLE payloads", "CREATE VIRTUAL TABLE payloads USING fts5(run_id, kind, value)"], "payloads"),
        (["ALTER TABLE runs ADD COLUMN extra TEXT"], "table runs"),
        (["ALTER TABLE runs ADD COLUMN extra TEXT AS (hex(zeroblob(500000000)))"], "table runs"),
        (["ALTER TABLE steps RENAME COLUMN output TO result"], "table steps"),
        (["ALTER TABLE logs DROP COLUMN data"], "table logs"),
        (["DROP TABLE crashes"], "no table crashes"),
        (["DROP TABLE calls"], "no table calls"),
        (["DROP INDEX runs_by_age"], "no index runs_by_age"),
        (["DROP INDEX runs_by_age", "CREATE INDEX runs_by_age ON runs (id)"], "index runs_by_age"),
        (["DROP TABLE payloads", "CREATE TABLE payloads (run_id TEXT, kind TEXT, value TEXT)"], "table payloads"),
        (["DROP TABLE crashes", "CREATE TABLE crashes AS SELECT 'a' AS run_id, 1 AS count"], "table crashes"),
        ([f"PRAGMA user_version = {VERSION + 1}"], f"version {VERSION + 1}"),
        (["PRAGMA user_version = 0"], "version 0"),
        (["PRAGMA user_version = -1"], "version -1"),
    ],
)
async def test_another_schema_is_refused(file: Path, attach: Attach, statements: list[str], reason: str) -> None:
    change(file, *statements)
    assert reason in await import_error(attach, file)


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("runs", "labels TEXT NOT NULL", "labels TEXT NOT NULL CHECK (length(hex(zeroblob(400000000))) > 0)"),
        ("runs", "labels TEXT NOT NULL", "labels TEXT NOT NULL DEFAULT (hex(zeroblob(400000000)))"),
        ("runs", "id TEXT PRIMARY KEY", "id TEXT COLLATE NOCASE PRIMARY KEY"),
        ("payloads", "PRIMARY KEY (run_id, kind)", "PRIMARY KEY (run_id, kind) ON CONFLICT REPLACE"),
        ("logs", " WITHOUT ROWID", " WITHOUT ROWID, STRICT"),
        ("runs_by_age", "(created_at, id)", "(hex(zeroblob(400000000)), id)"),
    ],
)
async def test_a_definition_that_was_written_over_is_refused(
    file: Path, attach: Attach, table: str, old: str, new: str
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = ?", (old, new, table))
        assert database.execute(
            "SELECT sql FROM sqlite_schema WHERE name = ? AND instr(sql, ?)", (table, new)
        ).fetchall()
    assert table in await import_error(attach, file)


@pytest.mark.parametrize("column", ["type", "name", "tbl_name", "sql"])
@pytest.mark.parametrize("value", ["NULL", "x'ff'", "7", "CAST(x'ff' AS TEXT)"])
async def test_a_schema_of_no_texts_is_refused(file: Path, attach: Attach, column: str, value: str) -> None:
    change(file, "PRAGMA writable_schema = ON", f"UPDATE sqlite_schema SET {column} = {value} WHERE name = 'logs'")
    assert not await is_imported(attach, file)


async def test_a_table_that_is_there_twice_is_refused(file: Path, attach: Attach) -> None:
    twice = "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema WHERE name = 'calls'"
    change(file, "PRAGMA writable_schema = ON", twice)
    assert not await is_imported(attach, file)


class TestPages:
    """Files that are not whole: `ATTACH` refuses some of them by itself, as the bridge does."""

    @pytest.mark.parametrize("kind", ["output", "between"])
    async def test_of_rows_in_another_order_are_refused(self, file: Path, attach: Attach, kind: str) -> None:
        """SQLite's own check ends at the first thing that is wrong, which may be another table's value."""
        many = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) {INSERT_CANCELLED}"
        rewrite_schema(
            file,
            "runs",
            "id TEXT PRIMARY KEY",
            "id TEXT COLLATE NOCASE PRIMARY KEY",
            many.format("printf('a%03d', i)", "n"),
            INSERT_CANCELLED.format("'B'", "(SELECT 1)"),
        )
        change(file, f"UPDATE payloads SET kind = '{kind}' WHERE kind = 'output'", unchecked=True)
        assert "corrupt" in await import_error(attach, file)

    async def test_of_two_tables_in_one_are_refused(self, file: Path, attach: Attach) -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute("PRAGMA writable_schema = ON")
            [[page]] = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'runs'")
            database.execute("UPDATE sqlite_schema SET rootpage = ? WHERE name = 'steps'", (page,))
        assert "corrupt" in await import_error(attach, file)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda file: b"",
            lambda file: b"name,city\n",
            lambda file: file[:16],
            lambda file: file[:100],
            lambda file: file[:4096],
            lambda file: file[: len(file) // 2],
            lambda file: file[:-4096],
            lambda file: file[:4096] + bytes(len(file) - 4096),
            lambda file: file[:100] + random.Random(1).randbytes(len(file) - 100),
            lambda file: random.Random(2).randbytes(len(file)),
            lambda file: file[:16] + b"\x00\x03" + file[18:],
            lambda file: file[:56] + (2).to_bytes(4) + file[60:],
        ],
    )
    async def test_that_are_damaged_are_refused(
        self, file: Path, attach: Attach, damage: Callable[[bytes], bytes]
    ) -> None:
        overwrite(file, damage)
        assert not await is_imported(attach, file)

    @pytest.mark.parametrize("seed", range(40))
    async def test_with_a_byte_changed_are_refused_or_sound(self, file: Path, attach: Attach, seed: int) -> None:
        def damage(file: bytes) -> bytes:
            chance, damaged = random.Random(seed), bytearray(file)
            for _ in range(1 + seed % 4):
                damaged[chance.randrange(100, len(file))] = chance.randrange(256)
            return bytes(damaged)

        overwrite(file, damage)
        await is_imported(attach, file)


def overwrite(file: Path, damage: Callable[[bytes], bytes]) -> None:
    file.write_bytes(damage(file.read_bytes()))


async def is_imported(attach: Attach, file: Path) -> bool:
    """Import a file that `ATTACH` may refuse, check that all can be read, and is as before if it was refused."""
    try:
        store = await attach(file)
    except (StoreError, UnicodeDecodeError):  # the latter from `sqlite3`, of SQLite's message
        return False
    before = await contents(store)
    try:
        await store.import_attached()
        return bool(await contents(store))
    except StoreError:
        assert await contents(store) == before
        return False
    finally:
        await store.close()
