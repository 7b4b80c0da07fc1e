"""Takes over the runs of a database that is attached as `imported`, once all that it holds has been checked.

The file may come from anyone. Rule 1: nothing of it is read before its schema is, to the letter, the one that this
version writes: a view, a trigger, a generated column or an index on an expression is code, which may never end. Rule 2:
its pages are checked before its rows, and all its rows before one is taken over. Rule 3: everything happens in one
transaction, so a refusal leaves all as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from durably_wasm.errors import ConflictError, StoreError, message_of
from durably_wasm.stores.import_rules import COLUMNS, JSON_COLUMNS, Cell, Row, Unreadable, canonical, fault
from durably_wasm.stores.migrations import VERSION, import_script
from durably_wasm.stores.rows import SqlRow
from durably_wasm.stores.sql_driver import SqlDriver, SqlValue
from durably_wasm.stores.statements import Statements

Execute: TypeAlias = Callable[[str, dict[str, SqlValue]], list[SqlRow]]

_ROWS_AT_ONCE = 16  # each of which may hold a large payload
_KEYS = {
    "runs": ("id",),
    "payloads": ("run_id", "kind"),
    "steps": ("run_id", "name"),
    "logs": ("id",),
    "crashes": ("run_id",),
}
_BLAMED_ON_ROWS = (  # verdicts for which the checks of the rows give the row and the column
    "CHECK constraint failed in",
    "NULL value in",
    "NUMERIC value in",
    "TEXT value in",
    "non-unique entry in index",
)

_SCHEMA = "SELECT type, name, tbl_name, sql FROM {}.sqlite_schema"
_SET_LABELS = "UPDATE main.runs SET labels = :text WHERE id = :run_id"
_OF_NO_RUN = "SELECT run_id FROM imported.{} WHERE run_id NOT IN (SELECT id FROM imported.runs) LIMIT 1"
_WITH_PAYLOAD = "(SELECT run_id FROM imported.payloads WHERE kind = '{}')"
_MISSING_PAYLOADS = {
    "input": f"SELECT id FROM imported.runs WHERE id NOT IN {_WITH_PAYLOAD.format('input')} LIMIT 1",
    "output": "SELECT id FROM imported.runs "
    f"WHERE status = 'completed' AND id NOT IN {_WITH_PAYLOAD.format('output')} LIMIT 1",
}
_EARLY_OUTPUT = (
    f"SELECT id FROM imported.runs WHERE status <> 'completed' AND id IN {_WITH_PAYLOAD.format('output')} LIMIT 1"
)
_TWICE = "SELECT max(id) FROM imported.runs WHERE {0} IS NOT NULL AND {2} GROUP BY {1} HAVING count(*) > 1 LIMIT 1"
_UNIQUE = (
    ("idempotency_key", "job_name, idempotency_key", "true"),
    ("concurrency_key", "job_name, concurrency_key", "status = 'pending'"),
    ("concurrency_key", "concurrency_key", "status = 'leased'"),
)


def import_attached(statements: Statements, db: SqlDriver) -> None:
    """Put the runs of the attached database in the place of all that are here, and detach it.

    Raises:
        ConflictError: A run is leased.
        StoreError: The attached database is not what this version writes; the message names table, row and column.
    """
    try:
        statements.execute("PRAGMA trusted_schema = OFF")
        with statements.transaction():
            if leased := statements.run("leased"):
                raise ConflictError(f"Cannot import while run {leased[0][0]} is leased")
            with _blaming_the_file():
                labels = _check(statements.execute)
                db.script(import_script())
            for run_id, text in labels.items():
                statements.execute(_SET_LABELS, {"run_id": run_id, "text": text})
    finally:
        db.run("DETACH imported", {})


@contextmanager
def _blaming_the_file() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        if error.is_full:
            raise
        raise StoreError(f"The file cannot be imported: {message_of(error.__cause__ or error)}") from error


def _check(execute: Execute) -> dict[str, str]:
    """Check the attached database, and return the labels that are stored in another form than the file's, by run id."""
    _check_schema(execute)
    verdict = _verdict(execute)
    labels = _check_rows(execute)
    _check_relations(execute)
    if verdict is not None:
        raise StoreError(f"it is corrupt: {verdict}")
    return labels


def _check_schema(execute: Execute) -> None:
    [[version]] = execute("PRAGMA imported.user_version", {})
    if version != VERSION:
        raise StoreError(f"it has schema version {version}, and only {VERSION} can be imported")
    ours, found = (execute(_SCHEMA.format(database), {}) for database in ("main", "imported"))
    for type, name, _, _ in (row for row in found if row not in ours):
        raise StoreError(f"it has a {type} {name} that version {VERSION} does not have")
    for type, name, _, _ in (row for row in ours if row not in found):
        raise StoreError(f"it has no {type} {name}")
    if len(found) != len(ours):
        raise StoreError("it has a table or an index twice")


def _verdict(execute: Execute) -> str | None:
    """Return what is wrong with the rows as SQLite sees it; raise when it is the pages."""
    [[verdict], *_] = execute("PRAGMA imported.integrity_check(1)", {})
    if verdict != "ok" and not str(verdict).startswith(_BLAMED_ON_ROWS):
        raise StoreError(f"it is corrupt: {verdict}")
    return None if verdict == "ok" else str(verdict)


def _check_rows(execute: Execute) -> dict[str, str]:
    labels = {}
    for table in COLUMNS:
        for row in _rows(execute, table):
            if found := fault(table, row):
                column, reason = found
                raise _refusal(table, ", ".join(str(row[key]) for key in _KEYS[table]), column, reason)
            if table == "runs" and row["labels"] != (text := canonical(str(row["labels"]))):
                labels[str(row["id"])] = text
    return labels


def _check_relations(execute: Execute) -> None:
    for column, columns, where in _UNIQUE:
        for [run_id] in execute(_TWICE.format(column, columns, where), {}):
            raise _refusal("runs", run_id, column, "is that of another run too")
    for table in ("payloads", "steps", "logs", "crashes"):
        for [run_id] in execute(_OF_NO_RUN.format(table), {}):
            raise _refusal(table, run_id, "run_id", "is that of no run")
    for kind, statement in _MISSING_PAYLOADS.items():
        for [run_id] in execute(statement, {}):
            raise _refusal("payloads", f"{run_id}, {kind}", "value", "is missing")
    for [run_id] in execute(_EARLY_OUTPUT, {}):
        raise _refusal("payloads", f"{run_id}, output", "value", "is there, and the run is not completed")


def _refusal(table: str, row: object, column: str, reason: str) -> StoreError:
    return StoreError(f"in table {table}, row {str(row)[:200]!r}, column {column} {reason}")


def _rows(execute: Execute, table: str) -> Iterator[Row]:
    """Read a table in pieces, by its primary key. Each row must have been checked before the next is asked for."""
    columns, keys = COLUMNS[table], _KEYS[table]
    select = f"SELECT {', '.join(_cell(table, column) for column in columns)} FROM imported.{table}"
    end = f"ORDER BY {', '.join(keys)} LIMIT {_ROWS_AT_ONCE}"
    after = f"WHERE ({', '.join(keys)}) > ({', '.join(f':{key}' for key in keys)})"
    last: tuple[str, ...] = ()
    found = execute(f"{select} {end}", {})
    while found:
        for cells in found:
            row = {column: _read(cell) for column, cell in zip(columns, cells, strict=True)}
            yield row
            key = tuple(str(row[name]) for name in keys)
            if key <= last:
                raise StoreError(f"it is corrupt: the rows of table {table} are not in the order of their keys")
            last = key
        found = execute(f"{select} {after} {end}", dict(zip(keys, last, strict=True)))


def _cell(table: str, column: str) -> str:
    """Return the expression for a value as `_read` reads it.

    Drivers differ on BLOBs, large integers and text that is not UTF-8: the bytes in hexadecimal, behind the first
    letter of the type, are the same to all. What SQLite does not take for JSON is not read: decoding text that is
    nested some thousand levels deep ends Pyodide.
    """
    value = f'substr(typeof("{column}"), 1, 1) || hex("{column}")'
    if column not in JSON_COLUMNS.get(table, ()):
        return value
    return f"""CASE WHEN typeof("{column}") = 'text' AND NOT json_valid("{column}") THEN '!' ELSE {value} END"""


def _read(cell: str) -> Cell:
    kind, content = cell[0], bytes.fromhex(cell[1:])
    if kind == "!":
        return Unreadable("is not JSON, or nested too deeply")
    if kind == "n":
        return None
    if kind == "i":
        return int(content)
    if kind == "t":
        try:
            return content.decode()
        except UnicodeDecodeError:
            return Unreadable("is not UTF-8")
    return Unreadable("is a BLOB" if kind == "b" else "is a floating-point number")
