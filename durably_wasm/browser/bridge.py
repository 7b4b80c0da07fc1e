"""The drivers over the JavaScript bridges in `web/worker/bridge`. Knows neither runs nor jobs.

Text crosses, not proxies: a proxy costs a hundred times what it holds, and has to be destroyed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import durably_wasm_js
from pyodide.ffi import JsException, create_proxy

from durably_wasm.end import End
from durably_wasm.errors import StoreError, message_of
from durably_wasm.payloads import JsonValue, encode
from durably_wasm.stores.durability import Durability, check_durability
from durably_wasm.stores.indexeddb import Decision
from durably_wasm.stores.indexeddb import IndexedDbStore as Store
from durably_wasm.stores.operations import Operation
from durably_wasm.stores.rows import Record, SqlRow
from durably_wasm.stores.sql_driver import INTERNAL, MISMATCH, NOMEM, TOOBIG, SqlValue, Statement, refusal
from durably_wasm.stores.sqlite import SqliteStore
from durably_wasm.stores.transactions import Found

# The fields of a `StoreError` beside its message.
_MEANING = {"isFull": "is_full", "isFinal": "is_final", "isCausedByData": "is_caused_by_data"}
# What JavaScript throws where SQLite was not asked: its texts have a length, and a trap leaves its memory unusable.
_CODES = {"RangeError": TOOBIG, "InternalError": TOOBIG, "RuntimeError": INTERNAL}


# In one transaction. JavaScript's texts may have twice that length in Chromium; of longer ones, and of the copies on
# their way to the page, its processes die (measured with 400 million), and with them all other runs.
MOST_CHARACTERS = 1 << 27


class IndexedDbStore(Store):
    """Keeps runs in an IndexedDB database of this origin; it survives the tab, the browser and the machine's reboot.

    `durability` says what a commit waits for: "relaxed" commits survive a crash of the tab and of the browser, "strict"
    ones a power cut too (`durably_wasm.stores.durability`).

    Raises:
        ValidationError: There is no such durability.
    """

    def __init__(self, name: str = "durably", durability: Durability = "relaxed") -> None:
        check_durability(durability)
        self._driver = IndexedDbDriver(name, durability)
        super().__init__(self._driver)

    async def settle(self) -> None:
        """Return when no transaction is under way; see `durably_wasm.stores.base.Settling`."""
        await self._driver.settle()


class IndexedDbDriver:
    """An `ObjectDriver` over `web/worker/bridge/indexeddb.js`.

    JavaScript gets two functions for the database's whole life, and a number for each transaction: proxies and
    promises of every transaction's own would cost as much as the transaction.
    """

    def __init__(self, name: str, durability: Durability = "relaxed") -> None:
        self._name = name
        self._durability = durability
        self._database: Any = None
        self._transactions: dict[int, _Transaction] = {}
        self._numbers = itertools.count()
        self._settling: list[End] = []

    async def open(self) -> None:
        """Open the database and upgrade its schema; harmless when it is open."""
        if self._database is None:
            functions = create_proxy(self._decide), create_proxy(self._end)  # JavaScript destroys them
            self._database = await _settled(durably_wasm_js.openIndexedDb(self._name, self._durability, *functions))

    async def close(self) -> None:
        """Close the database; harmless when it is closed."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    async def transact(self, reads: list[Operation], decide: Callable[[Found], Decision]) -> None:
        """Read, let `decide` answer, and so on until it returns writes; return when those are committed."""
        database, text, number = self._opened(), json.dumps(reads), next(self._numbers)
        transaction = self._transactions[number] = _Transaction(decide)
        try:
            database.transact(number, text)
        except BaseException:  # it has not begun, so nothing will tell of its end
            self._forget(number)
            raise
        await transaction.end

    async def settle(self) -> None:
        """Return when no transaction is under way."""
        while self._transactions:
            self._settling.append(End())
            await self._settling[-1]

    def _decide(self, number: int, found: str) -> str:
        transaction = self._transactions[number]
        try:
            return _bounded(self._name, json.dumps(transaction.decide(json.loads(found))))
        except Exception as error:  # raised by `transact`: the database's transaction is aborted
            transaction.raised = error
            return "null"

    def _end(self, number: int, refusal: str | None) -> None:
        transaction = self._forget(number)  # first: who awaits the transaction may begin another
        transaction.end.come(transaction.raised or (_store_error(**json.loads(refusal)) if refusal else None))

    def _forget(self, number: int) -> _Transaction:
        transaction = self._transactions.pop(number)
        if not self._transactions:
            settling, self._settling = self._settling, []
            for end in settling:
                end.come()
        return transaction

    async def query(self, name: str, params: Mapping[str, JsonValue]) -> list[Record]:
        """Run one of the named reads of `web/shared/reads.js`."""
        records: list[Record] = json.loads(await _settled(self._opened().query(name, json.dumps(params))))
        return records

    def _opened(self) -> Any:
        if self._database is None:
            raise StoreError(f"The database {self._name} is not open: await migrate() or init() first")
        return self._database


class _Transaction:
    """A transaction under way, from Python's side."""

    def __init__(self, decide: Callable[[Found], Decision]) -> None:
        self.decide = decide
        self.raised: Exception | None = None
        self.end = End()


class WaSqliteStore(SqliteStore):
    """Keeps runs in a SQLite database on the origin-private file system; in Pyodide in a dedicated worker only.

    It survives the tab, the browser and the machine's reboot; `durability` is that of `IndexedDbStore`.

    Raises:
        ValidationError: There is no such durability.
    """

    def __init__(self, name: str = "durably", durability: Durability = "relaxed") -> None:
        check_durability(durability)
        super().__init__(WaSqliteDriver(name, durability))


class WaSqliteDriver:
    """A `SqlDriver` over `web/worker/bridge/sqlite.js`."""

    def __init__(self, name: str, durability: Durability = "relaxed") -> None:
        self._name = name
        self._synchronous = "FULL" if durability == "strict" else "NORMAL"
        self._database: Any = None
        self._prepared: dict[str, tuple[int, list[str]]] = {}

    async def open(self) -> None:
        """Open the database, once no other worker holds it; harmless when it is open."""
        if self._database is None:
            self._database = await _settled(durably_wasm_js.openSqlite(self._name))

    def configure(self) -> None:
        """Turn on WAL mode, which without other connections needs no shared memory."""
        self.script(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {self._synchronous};")

    def close(self) -> None:
        """Close the database; harmless when it is closed."""
        database, self._database = self._database, None
        self._prepared.clear()
        if database is not None:
            database.close()

    def run(self, sql: str, values: Mapping[str, SqlValue]) -> list[SqlRow]:
        """Execute one statement and return its rows."""
        [rows] = self.run_all([(sql, values)])
        return rows

    def run_all(self, statements: Sequence[Statement]) -> list[list[SqlRow]]:
        """Execute statements in order, until one is refused, and return the rows of each."""
        try:
            prepared = [(*(self._prepared.get(sql) or self._prepare(sql)), values) for sql, values in statements]
            calls = encode([[number, [values[name] for name in names]] for number, names, values in prepared])
            text = self._database.run(_bounded(self._name, calls))
        except JsException as error:
            raise self._refusal(error) from error
        except (TypeError, ValueError, MemoryError) as error:  # no JSON can be made of a value
            raise self._misfit(error) from error
        rows: list[list[SqlRow]] = json.loads(text)
        return rows

    def script(self, sql: str) -> None:
        """Execute several statements inside the current transaction."""
        try:
            self._opened().script(sql)
        except JsException as error:
            raise self._refusal(error) from error

    def _prepare(self, sql: str) -> tuple[int, list[str]]:
        prepared = json.loads(self._opened().prepare(sql))
        self._prepared[sql] = prepared["number"], prepared["names"]
        return self._prepared[sql]

    def _opened(self) -> Any:
        if self._database is None:
            raise StoreError(f"The database {self._name} is not open: await migrate() or init() first")
        return self._database

    def _refusal(self, error: Any) -> StoreError:
        name, message = getattr(error, "name", ""), getattr(error, "message", "")
        code = error.code if name == "StoreError" else _CODES.get(name, 0)  # a DOMException has a `code` of its own
        return refusal(f"The database {self._name}", code, message or str(error))

    def _misfit(self, error: Exception) -> StoreError:
        code = NOMEM if isinstance(error, MemoryError) else MISMATCH
        return refusal(f"The database {self._name}", code, message_of(error))


def _bounded(database: str, text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        reason = f"{len(text)} characters are too many; {MOST_CHARACTERS} can be stored at once"
        raise refusal(f"The database {database}", TOOBIG, reason)
    return text


async def _settled(promise: Awaitable[Any]) -> Any:
    try:
        return await promise
    except JsException as error:
        raise _store_error(error.message, **{name: getattr(error, name, None) for name in _MEANING}) from error


def _store_error(message: str, **meaning: object) -> StoreError:
    """Put JavaScript's `StoreError` into Python's: where it does not say what it means, it means nothing more."""
    return StoreError(message, **{_MEANING[name]: value is True for name, value in meaning.items()})
