"""An `ObjectDriver` in memory, for `IndexedDbStore` on CPython.

It does what `web/worker/bridge/indexeddb.js` does, with IndexedDB's order of keys and JavaScript's numbers, and passes
the same clauses (`contract/driver.py`). Its object stores and indexes are those of `web/shared/schema.js`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from durably_wasm.errors import StoreError
from durably_wasm.payloads import JsonValue
from durably_wasm.stores.indexeddb import Decision
from durably_wasm.stores.operations import Operation
from durably_wasm.stores.rows import Record
from durably_wasm.stores.transactions import Found

Key: TypeAlias = tuple[int, Any]  # a kind and what to compare; kinds sort as numbers, text, arrays
Contents: TypeAlias = dict[str, dict[Key, Record]]

SCHEMA_FILE = Path(__file__).parents[1] / "web" / "shared" / "schema.js"


@dataclass(frozen=True, slots=True)
class Index:
    """A key path of several fields, and whether two records may have the same key."""

    fields: list[str]
    unique: bool


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A primary key path, of one field or several, and indexes by name."""

    key_path: str | list[str]
    indexes: Mapping[str, Index]


def read_schema(source: str) -> dict[str, ObjectStore]:
    """Read the object literal `OBJECT_STORES` of `schema.js`."""
    literal = source.partition("OBJECT_STORES = ")[2].partition("};")[0] + "}"
    quoted = re.sub(r"(\w+):", r'"\1":', literal).replace("'", '"')
    stores = json.loads(re.sub(r",(\s*[}\]])", r"\1", quoted))
    return {
        name: ObjectStore(
            store["keyPath"],
            {key: Index(index["keyPath"], index.get("unique", False)) for key, index in store["indexes"].items()},
        )
        for name, store in stores.items()
    }


SCHEMA = read_schema(SCHEMA_FILE.read_text("utf-8"))


class FakeDatabase:
    """What outlives the drivers that open it; several may at once."""

    def __init__(self) -> None:
        self.contents: Contents = {name: {} for name in SCHEMA}


class FakeObjectDriver:
    """An `ObjectDriver` on a `FakeDatabase`, by default one of its own."""

    def __init__(self, database: FakeDatabase | None = None) -> None:
        self._database = database or FakeDatabase()
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def transact(self, reads: list[Operation], decide: Callable[[Found], Decision]) -> None:
        database = self._opened()
        await asyncio.sleep(0)  # as in the browser, others run before the transaction begins and after it ends
        draft = _Draft({name: dict(records) for name, records in database.contents.items()})
        decision: Any = {"reads": reads}
        while "reads" in decision:
            found = [_perform(draft, operation) for operation in _through_javascript(decision["reads"])]
            decision = _through_javascript(decide(_through_javascript(found)))
        for write in decision["writes"]:
            _write(draft, write)
        database.contents = dict(draft)
        await asyncio.sleep(0)

    async def query(self, name: str, params: Mapping[str, JsonValue]) -> list[Record]:
        database = self._opened()
        await asyncio.sleep(0)
        records: list[Record] = _through_javascript(READS[name](database.contents, _through_javascript(params)))
        return records

    def _opened(self) -> FakeDatabase:
        if not self._open:
            raise StoreError("The database is not open: await migrate() or init() first")
        return self._database


class _Draft(dict[str, dict[Key, Record]]):
    def __missing__(self, store: str) -> dict[Key, Record]:
        raise StoreError(f"NotFoundError: there is no object store {store}", is_final=True)


def _read_run(contents: Contents, params: Any) -> list[Record]:
    run = contents["runs"].get(key_of(params["id"]))
    return [] if run is None else [_with_payloads(contents, run)]


def _read_runs(contents: Contents, params: Any) -> list[Record]:
    found = [
        run
        for run in reversed(_range(contents, "runs", "byAge"))
        if (not params["status"] or run["status"] in params["status"])
        and (not params["jobName"] or run["jobName"] in params["jobName"])
        and all(run["labels"].get(key) == value for key, value in params["labels"].items())
    ]
    end = None if params["limit"] is None else params["offset"] + params["limit"]
    return [_with_payloads(contents, run) for run in found[params["offset"] : end]]


def _read_steps(contents: Contents, params: Any) -> list[Record]:
    return sorted(_all_of(contents, "steps", params["runId"]), key=lambda step: int(step["index"]))


def _read_logs(contents: Contents, params: Any) -> list[Record]:
    return _all_of(contents, "logs", params["runId"])


READS: Mapping[str, Callable[[Contents, Any], list[Record]]] = {
    "run": _read_run,
    "runs": _read_runs,
    "steps": _read_steps,
    "logs": _read_logs,
}


def _all_of(contents: Contents, store: str, run_id: str) -> list[Record]:
    return _range(contents, store, None, [run_id], [run_id, []])


def _with_payloads(contents: Contents, run: Record) -> Record:
    texts = {payload["kind"]: payload["text"] for payload in _all_of(contents, "payloads", run["id"])}
    return {**run, "input": texts.get("input"), "output": texts.get("output")}


def _read(contents: Contents, read: Operation) -> Record | list[Record] | None:
    if read["op"] == "get":
        if not is_key(read["key"]):
            raise StoreError(f"DataError: {read['key']!r} is no key", is_caused_by_data=True)
        return contents[read["store"]].get(key_of(read["key"]))
    if read["op"] == "last":
        found = _range(contents, read["store"], read["index"], read["lower"], read["upper"])
        return found[-1] if found else None
    return _range(contents, read["store"], read["index"], read["lower"], read["upper"], read["limit"])


def _perform(contents: Contents, operation: Operation) -> Record | list[Record] | None:
    if operation["op"] in ("get", "range", "last"):
        return _read(contents, operation)
    _write(contents, operation)
    return None


def _write(contents: Contents, write: Operation) -> None:
    records = contents[write["store"]]
    if write["op"] == "put":
        key = _primary_key(write["store"], write["record"])
        _check_unique(contents, write["store"], key, write["record"])
        records[key] = write["record"]
    else:
        for key in [key for key in records if key_of(write["lower"]) <= key <= key_of(write["upper"])]:
            del records[key]


def _range(
    contents: Contents, store: str, index: str | None, lower: Any = None, upper: Any = None, limit: int | None = None
) -> list[Record]:
    """Both bounds belong to a range, but an upper one that is alone (`rangeOf` in the bridge)."""
    if index is not None and index not in SCHEMA[store].indexes:
        raise StoreError(f"NotFoundError: {store} has no index {index}", is_final=True)
    if lower is not None and upper is not None and key_of(lower) > key_of(upper):
        raise StoreError("DataError: the lower key is greater than the upper key", is_caused_by_data=True)
    found = [
        (key, primary)
        for primary, record in contents[store].items()
        if (key := primary if index is None else _index_key(SCHEMA[store].indexes[index], record)) is not None
        and (lower is None or key_of(lower) <= key)
        and (upper is None or key < key_of(upper) or (lower is not None and key == key_of(upper)))
    ]
    return [contents[store][primary] for _, primary in sorted(found)[: limit or None]]


def _primary_key(store: str, record: Record) -> Key:
    path = SCHEMA[store].key_path
    value = record.get(path) if isinstance(path, str) else [record.get(field) for field in path]
    if not is_key(value):
        raise StoreError(f"DataError: {value!r} is no primary key of {store}", is_caused_by_data=True)
    return key_of(value)


def _index_key(index: Index, record: Record) -> Key | None:
    values = [record.get(field) for field in index.fields]
    return key_of(values) if is_key(values) else None


def _check_unique(contents: Contents, store: str, primary: Key, record: Record) -> None:
    for name, index in SCHEMA[store].indexes.items():
        key = _index_key(index, record)
        if index.unique and key is not None:
            for other, stored in contents[store].items():
                if other != primary and _index_key(index, stored) == key:
                    raise StoreError(f"ConstraintError: {name} of {store} is not unique", is_caused_by_data=True)


def is_key(value: Any) -> bool:
    """Say whether IndexedDB takes a JSON value as a key: numbers, text, and arrays of keys."""
    if isinstance(value, list):
        return all(is_key(item) for item in value)
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def key_of(value: Any) -> Key:
    """Return what sorts as IndexedDB sorts a key."""
    if isinstance(value, list):
        return 2, tuple(key_of(item) for item in value)
    return (1, value.encode("utf-16-be", "surrogatepass")) if isinstance(value, str) else (0, value)


def _through_javascript(value: Any) -> Any:
    """Copy a value by way of JavaScript: numbers are doubles, and keys that look like array indexes come first."""
    return json.loads(json.dumps(value), parse_int=_number, parse_float=_number, object_pairs_hook=_object)


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    indexes = sorted((name for name in names if re.fullmatch(r"0|[1-9]\d{0,8}", name)), key=int)
    values = dict(pairs)
    return {name: values[name] for name in [*indexes, *names]}
