"""The tables that both of the browser's databases have, as far as moving their rows needs to know them.

A row is moved as the record that IndexedDB keeps of it (`web/shared/schema.js`). Payloads are the text that they are in
both databases, and are never decoded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from durably_wasm.models import Crash, Log, Run, Step, camel_case
from durably_wasm.payloads import encode
from durably_wasm.stores.operations import Operation
from durably_wasm.stores.rows import Record, SqlRow
from durably_wasm.stores.sql_driver import SqlValue, Statement

CHUNK: Final = 100  # rows that are read and written at a time
_PARSED = ("progress", "labels")  # the engine's own JSON: text in SQLite, values in IndexedDB


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table of SQLite, and the object store of the same name.

    Attributes:
        columns: The columns as SQLite names them.
        key: Those that make the primary key in SQLite.
        path: Those that make the primary key in IndexedDB, an array where `is_array`.
        owner: The column with the id of the run that a row belongs to, or None.
    """

    name: str
    columns: Sequence[str]
    key: Sequence[str]
    path: Sequence[str]
    is_array: bool
    owner: str | None

    def field(self, column: str) -> str:
        """Return the name that a column has in a record."""
        return "text" if (self.name, column) == ("payloads", "value") else camel_case(column)

    def key_of(self, record: Record) -> Any:
        """Return the primary key that a record has in IndexedDB."""
        values = [record[self.field(column)] for column in self.path]
        return values if self.is_array else values[0]

    def owner_of(self, record: Record) -> str | None:
        """Return the id of the run that a record belongs to, or None."""
        owner: str | None = record[self.field(self.owner)] if self.owner else None
        return owner

    def record(self, row: SqlRow) -> Record:
        """Return the record of a row of SQLite."""
        values = zip(self.columns, row, strict=True)
        return {self.field(column): _from_text(column, value) for column, value in values}

    def next_rows(self, after: Record | None) -> Statement:
        """Return the statement that reads the rows of SQLite behind one, by their key."""
        where = f"({_names(self.key)}) > ({_parameters(self.key)})"
        text = f"SELECT {_names(self.columns)} FROM {self.name} WHERE {where} ORDER BY {_names(self.key)} LIMIT {CHUNK}"
        return text, {column: "" if after is None else after[self.field(column)] for column in self.key}

    def next_records(self, after: Record | None) -> Operation:
        """Return the operation that reads the records of IndexedDB behind one, by their key."""
        lower = None
        if after is not None:  # an array that is longer by one text, and a text by one unit, is the very next key
            key = self.key_of(after)
            lower = [*key, ""] if self.is_array else f"{key}\0"
        return {"op": "range", "store": self.name, "index": None, "lower": lower, "upper": None, "limit": CHUNK}

    def known(self, record: Record) -> Statement:
        """Return the statement that finds out whether SQLite has a row with a record's key."""
        where = " AND ".join(f'"{column}" = :{column}' for column in self.key)
        return f"SELECT 1 FROM {self.name} WHERE {where}", {column: record[self.field(column)] for column in self.key}

    def insertion(self, record: Record) -> Statement:
        """Return the statement that writes a record to SQLite."""
        text = f"INSERT INTO {self.name} ({_names(self.columns)}) VALUES ({_parameters(self.columns)})"
        return text, {column: _to_text(column, record.get(self.field(column))) for column in self.columns}

    def deletion(self) -> Operation:
        """Return the operation that deletes all records of IndexedDB: all keys are text, or arrays of text."""
        return {"op": "delete", "store": self.name, "lower": "", "upper": [[]]}


def _columns(row: Any) -> list[str]:
    return [field.name for field in fields(row)]


def _table(name: str, columns: Sequence[str], *path: str, key: Sequence[str] = ()) -> Table:
    owner = "id" if name == "runs" else next((column for column in columns if column == "run_id"), None)
    return Table(name=name, columns=columns, key=key or path, path=path, is_array=len(path) > 1, owner=owner)


RUNS: Final = _table("runs", [column for column in _columns(Run) if column not in ("input", "output")], "id")
TABLES: Final = (
    RUNS,
    _table("payloads", ["run_id", "kind", "value"], "run_id", "kind"),
    _table("steps", _columns(Step), "run_id", "name"),
    _table("logs", _columns(Log), "run_id", "id", key=["id"]),
    _table("crashes", _columns(Crash), "run_id"),
    _table("calls", ["id", "outcome"], "id"),
)


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _parameters(columns: Sequence[str]) -> str:
    return ", ".join(f":{column}" for column in columns)


def _from_text(column: str, value: Any) -> Any:
    return json.loads(value) if column in _PARSED and value is not None else value


def _to_text(column: str, value: Any) -> SqlValue:
    text: SqlValue = encode(value) if column in _PARSED and value is not None else value
    return text
