"""SQLite as the store calls it, and the driver over the standard library's `sqlite3`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from durably_wasm.errors import StoreError
from durably_wasm.stores.rows import SqlRow

SqlValue: TypeAlias = str | int | float | None
Statement: TypeAlias = tuple[str, Mapping[str, SqlValue]]  # its text, and its named parameters

_FULL = 13
_STATES = {
    5: "is locked by another connection",
    6: "is locked by this connection",
    8: "is read-only",
    11: "is corrupt",
    _FULL: "has no room left",
    14: "cannot be opened",
    26: "is not a SQLite database",
}


class SqlDriver(Protocol):
    """A SQLite database, called synchronously once it is open. Each method raises `StoreError` when it refuses."""

    async def open(self) -> None:
        """Open the database; harmless when it is open."""
        ...

    def configure(self) -> None:
        """Choose the journal mode and what a commit waits for; this may write to the file."""
        ...

    def close(self) -> None:
        """Close the database; harmless when it is closed."""
        ...

    def run(self, sql: str, values: Mapping[str, SqlValue]) -> list[SqlRow]:
        """Execute one statement, prepared once a text, with its named parameters, and return its rows."""
        ...

    def run_all(self, statements: Sequence[Statement]) -> list[list[SqlRow]]:
        """Execute statements in order, until one is refused, and return the rows of each."""
        ...

    def script(self, sql: str) -> None:
        """Execute several statements without parameters."""
        ...


class StandardDriver:
    """The standard library's `sqlite3`, in WAL mode with ``synchronous=NORMAL``.

    A commit survives the death of the process; the last ones may be lost when the machine loses power.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the database; harmless when it is open."""
        if self._connection is not None:
            return
        try:
            self._connection = sqlite3.connect(self._path, isolation_level=None, cached_statements=256)
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def configure(self) -> None:
        """Turn on WAL mode."""
        self.script("PRAGMA journal_mode = WAL;\nPRAGMA synchronous = NORMAL;")

    def close(self) -> None:
        """Close the database; harmless when it is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def run(self, sql: str, values: Mapping[str, SqlValue]) -> list[SqlRow]:
        """Execute one statement and return its rows."""
        try:
            return self._open().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def run_all(self, statements: Sequence[Statement]) -> list[list[SqlRow]]:
        """Execute statements in order, until one is refused, and return the rows of each."""
        return [self.run(sql, values) for sql, values in statements]

    def script(self, sql: str) -> None:
        """Execute several statements inside the current transaction."""
        statement = ""
        for line in sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self.run(statement, {})
                statement = ""
        if statement.strip():
            self.run(statement, {})

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"The database {self._path} is not open: await migrate() or init() first")
        return self._connection

    def _refusal(self, error: sqlite3.Error) -> StoreError:
        return refusal(f"The database {self._path}", getattr(error, "sqlite_errorcode", 0), str(error))


def refusal(database: str, code: int, message: str) -> StoreError:
    """Put SQLite's result code and message into words (https://www.sqlite.org/rescode.html)."""
    primary = code & 0xFF
    return StoreError(f"{database} {_STATES.get(primary, 'refused')}: {message}", is_full=primary == _FULL)
