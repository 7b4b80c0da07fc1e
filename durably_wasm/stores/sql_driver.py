"""SQLite as the store calls it, and the driver over the standard library's `sqlite3`."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from durably_wasm.errors import StoreError, message_of
from durably_wasm.stores.rows import SqlRow

SqlValue: TypeAlias = str | int | float | None
Statement: TypeAlias = tuple[str, Mapping[str, SqlValue]]  # its text, and its named parameters

# SQLite's result codes, primary and extended (https://www.sqlite.org/rescode.html). What is in neither set passes.
ERROR, INTERNAL, NOMEM, FULL, TOOBIG, MISMATCH, MISUSE = 1, 2, 7, 13, 18, 20, 21
_CONSTRAINT, _RANGE, _IOERR_NOMEM = 19, 25, 3082
_PERM, _READONLY, _CORRUPT, _AUTH, _NOTADB, _IOERR_DATA, _IOERR_CORRUPTFS = 3, 8, 11, 23, 26, 8202, 8458
_CAUSED_BY_DATA = {NOMEM, TOOBIG, _CONSTRAINT, MISMATCH, _RANGE, _IOERR_NOMEM}
_FINAL = {INTERNAL, _PERM, _READONLY, _CORRUPT, _AUTH, _NOTADB, _IOERR_DATA, _IOERR_CORRUPTFS}

# All statements are the store's own, so a general error is about its schema, unless SQLite says one of these.
_ABOUT_DATA = re.compile("integer overflow|malformed JSON|too big|out of memory")
_ABOUT_A_TRANSACTION = re.compile("transaction|locked|in use|SQL statements in progress")

_STATES = {
    5: "is locked by another connection",
    6: "is locked by this connection",
    NOMEM: "has no memory for this",
    _READONLY: "is read-only",
    _CORRUPT: "is corrupt",
    FULL: "has no room left",
    14: "cannot be opened",
    _NOTADB: "is not a SQLite database",
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
        except _REFUSALS as error:
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
        except _REFUSALS as error:
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

    def _refusal(self, error: Exception) -> StoreError:
        return refusal(f"The database {self._path}", _code_of(error), message_of(error))


# What `sqlite3` raises: its own errors, and Python's for values that it cannot hand to SQLite, or that are too large.
_REFUSALS = (sqlite3.Error, TypeError, ValueError, OverflowError, MemoryError)


def refusal(database: str, code: int, message: str) -> StoreError:
    """Put SQLite's result code and message into words, and say which kind of failure it is."""
    primary = code & 0xFF
    codes = {code, primary}
    about_data = primary == ERROR and _ABOUT_DATA.search(message) is not None
    about_schema = primary == ERROR and not about_data and _ABOUT_A_TRANSACTION.search(message) is None
    return StoreError(
        f"{database} {_STATES.get(primary, 'refused')}: {message}",
        is_full=primary == FULL,
        is_final=about_schema or not codes.isdisjoint(_FINAL),
        is_caused_by_data=about_data or not codes.isdisjoint(_CAUSED_BY_DATA),
    )


def _code_of(error: Exception) -> int:
    """Return SQLite's result code; where SQLite was not asked, the one that fits."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code
    if isinstance(error, MemoryError):
        return NOMEM
    return MISUSE if _is_about_the_connection(error) else MISMATCH


def _is_about_the_connection(error: Exception) -> bool:
    """Say whether the module refuses every call, and not this one for its values or rows."""
    return isinstance(error, sqlite3.ProgrammingError) and re.search("closed|thread", str(error)) is not None
