"""What SQLite's refusals mean: the failure passes, the data cause it, there is no room, or it is final."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durably_wasm.errors import StoreError
from durably_wasm.stores.sql_driver import StandardDriver, refusal


def kind_of(error: StoreError) -> str:
    kinds = {"full": error.is_full, "final": error.is_final, "data": error.is_caused_by_data}
    [kind] = [name for name, holds in kinds.items() if holds] or ["passing"]
    return kind


CODES = {
    "passing": {
        4: "query aborted",
        5: "database is locked",
        261: "database is locked",  # SQLITE_BUSY_RECOVERY
        517: "database is locked",  # SQLITE_BUSY_SNAPSHOT
        6: "database table is locked",
        9: "interrupted",
        10: "disk I/O error",
        266: "disk I/O error",
        12: "unknown operation",
        14: "unable to open database file",
        15: "locking protocol",
        17: "database schema has changed",
        0: "no code at all",
    },
    "full": {13: "database or disk is full"},
    "data": {
        7: "out of memory",
        3082: "disk I/O error",  # SQLITE_IOERR_NOMEM
        18: "string or blob too big",
        19: "CHECK constraint failed: status",
        275: "CHECK constraint failed: status",
        787: "FOREIGN KEY constraint failed",
        1299: "NOT NULL constraint failed: runs.id",
        1555: "UNIQUE constraint failed: runs.id",
        1811: "a trigger's own message",
        2067: "UNIQUE constraint failed: runs.job_name",
        3091: "cannot store TEXT value in INTEGER column",
        20: "datatype mismatch",
        25: "column index out of range",
    },
    "final": {
        2: "internal error",
        3: "access permission denied",
        8: "attempt to write a readonly database",
        264: "attempt to write a readonly database",
        1032: "attempt to write a readonly database",  # SQLITE_READONLY_DBMOVED
        11: "database disk image is malformed",
        267: "database disk image is malformed",
        779: "database disk image is malformed",
        23: "not authorized",
        26: "file is not a database",
        8202: "disk I/O error",  # SQLITE_IOERR_DATA
        8458: "disk I/O error",  # SQLITE_IOERR_CORRUPTFS
    },
}
GENERAL = {  # SQLITE_ERROR
    "final": [
        "no such table: runs",
        "no such table: main.runs",
        "no such column: output",
        "no such index: runs_by_age",
        "no such function: json_each",
        "no such module: fts5",
        "table steps has no column named output",
        "table t has 2 columns but 1 values were supplied",
        "ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint",
        "cannot modify runs because it is a view",
        'near "RETURNING": syntax error',
        "SQL logic error",
    ],
    "data": ["integer overflow", "malformed JSON", "string or blob too big", "out of memory"],
    "passing": [
        "cannot start a transaction within a transaction",
        "cannot commit - no transaction is active",
        "cannot rollback - no transaction is active",
        "cannot commit transaction - SQL statements in progress",
        "database imported is locked",
    ],
}


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        *((kind, code, message) for kind, codes in CODES.items() for code, message in codes.items()),
        *((kind, 1, message) for kind, messages in GENERAL.items() for message in messages),
    ],
)
def test_each_code_is_of_one_kind(kind: str, code: int, message: str) -> None:
    error = refusal("The database x", code, message)
    assert kind_of(error) == kind and message in str(error)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[StandardDriver]:
    driver = StandardDriver(tmp_path / "x.db")
    await driver.open()
    driver.script("CREATE TABLE t (a TEXT PRIMARY KEY, b INTEGER NOT NULL CHECK (b < 5)) WITHOUT ROWID")
    yield driver
    driver.close()


@pytest.mark.parametrize(
    "values",
    [
        {"a": Path("x"), "b": 1},
        {"a": ("x",), "b": 1},
        {"a": object(), "b": 1},
        {"a": "\ud800", "b": 1},
        {"a": 10**30, "b": 1},
        {"a": "x", "b": 9},
        {"a": "x", "b": None},
        {"a": "there", "b": 1},
        {"a": "x" * 2_000, "b": 1},
        {"a": b"x" * 2_000, "b": 1},
        {"b": 1},
    ],
    ids=lambda values: " and ".join(type(value).__name__ for value in values.values()),
)
def test_values_that_cannot_be_stored_are_told_as_such(driver: StandardDriver, values: Any) -> None:
    driver.run("INSERT INTO t VALUES (:a, :b)", {"a": "there", "b": 1})
    driver._open().setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000)
    with pytest.raises(StoreError) as refused:
        driver.run("INSERT INTO t VALUES (:a, :b)", values)
    assert kind_of(refused.value) == "data" and refused.value.__cause__ is not None
    assert driver.run("SELECT a FROM t", {}) == [("there",)]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT * FROM nothing", "final"),
        ("SELECT nothing FROM t", "final"),
        ("COMMIT", "passing"),
        ("SELECT CAST(x'ff' AS TEXT)", "data"),
        ("SELECT * FROM json_each('x')", "data"),
    ],
)
def test_statements_that_fail_are_told_as_such(driver: StandardDriver, sql: str, kind: str) -> None:
    with pytest.raises(StoreError) as refused:
        driver.run(sql, {})
    assert kind_of(refused.value) == kind


class Exhausted:
    """A connection without memory: what `sqlite3` raises then has no code."""

    def execute(self, *statement: object) -> None:
        raise MemoryError

    def close(self) -> None: ...


def test_without_memory_for_a_value_the_value_is_refused(tmp_path: Path) -> None:
    driver = StandardDriver(tmp_path / "x.db")
    driver._connection = Exhausted()  # type: ignore[assignment]
    with pytest.raises(StoreError, match="has no memory for this") as refused:
        driver.run("SELECT 1", {})
    assert kind_of(refused.value) == "data"


def test_a_connection_that_was_closed_may_be_opened_again(driver: StandardDriver) -> None:
    driver._open().close()
    with pytest.raises(StoreError, match="closed") as refused:
        driver.run("SELECT 1", {})
    assert kind_of(refused.value) == "passing"
