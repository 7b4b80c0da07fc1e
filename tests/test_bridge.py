"""The drivers of `browser/bridge.py` over fakes of the JavaScript bridges: what they make of what is thrown there."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm.errors import StoreError

if TYPE_CHECKING:
    from conftest import AtOnce


def type_of(value: object) -> str:
    return type(value).__name__


class JsException(Exception):
    """What Pyodide makes of a JavaScript error: its properties are attributes."""

    def __init__(self, name: str, message: str, **properties: object) -> None:
        super().__init__(message)
        self.name, self.message = name, message
        self.__dict__.update(properties)


class FakeDatabase:
    """A database as both bridges have it, whose calls do what a test says."""

    def __init__(self) -> None:
        self.call: Callable[..., Any] = lambda *_: "[[]]"
        self.ends: list[Callable[[], None]] = []

    def prepare(self, sql: str) -> str:
        return '{"number": 0, "names": ["a"]}'

    def run(self, calls: str) -> Any:
        return self.call(calls)

    def script(self, sql: str) -> None:
        self.call(sql)

    def transact(self, number: int, reads: str) -> None:
        self.call(number, reads)

    def close(self) -> None: ...


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def bridge(database: FakeDatabase) -> Iterator[Any]:
    """The module, loaded over fakes of Pyodide and of the worker's JavaScript."""
    before = dict(sys.modules)
    functions: list[Any] = []

    async def open_sqlite(name: str) -> FakeDatabase:
        return database

    async def open_indexeddb(name: str, durability: str, *given: Any) -> FakeDatabase:
        functions.extend(given)
        return database

    pyodide = ModuleType("pyodide")
    ffi = SimpleNamespace(JsException=JsException, create_proxy=lambda function: function)
    javascript = SimpleNamespace(openSqlite=open_sqlite, openIndexedDb=open_indexeddb)
    sys.modules.update({"pyodide": pyodide, "pyodide.ffi": ffi, "durably_wasm_js": javascript})  # type: ignore[dict-item]
    package = ModuleType("durably_wasm.browser")
    package.__path__ = [str(path) for path in importlib.import_module("durably_wasm").__path__]
    package.__path__ = [f"{path}/browser" for path in package.__path__]
    sys.modules["durably_wasm.browser"] = package
    module = importlib.import_module("durably_wasm.browser.bridge")
    yield SimpleNamespace(module=module, functions=functions)
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def kind_of(error: StoreError) -> str:
    kinds = {"full": error.is_full, "final": error.is_final, "data": error.is_caused_by_data}
    [kind] = [name for name, holds in kinds.items() if holds] or ["passing"]
    return kind


def throwing(error: Exception) -> Callable[..., Any]:
    def call(*_: object) -> None:
        raise error

    return call


class TestSqlite:
    @pytest.mark.parametrize(
        ("thrown", "kind"),
        [
            (JsException("StoreError", "string or blob too big", code=18), "data"),
            (JsException("StoreError", "out of memory", code=7), "data"),
            (JsException("StoreError", "database or disk is full", code=13), "full"),
            (JsException("StoreError", "no such table: steps", code=1), "final"),
            (JsException("StoreError", "database disk image is malformed", code=11), "final"),
            (JsException("StoreError", "disk I/O error", code=10), "passing"),
            (JsException("RangeError", "Invalid string length"), "data"),
            (JsException("RangeError", "Array buffer allocation failed"), "data"),
            (JsException("InternalError", "allocation size overflow"), "data"),
            (JsException("RuntimeError", "memory access out of bounds"), "final"),
            (JsException("InvalidStateError", "the handle is closed", code=11), "passing"),
            (JsException("NoModificationAllowedError", "no", code=7), "passing"),
            (JsException("TypeError", "undefined is not a function"), "passing"),
        ],
        ids=repr,
    )
    async def test_what_is_thrown_is_of_one_kind(
        self, bridge: Any, database: FakeDatabase, thrown: JsException, kind: str
    ) -> None:
        driver = bridge.module.WaSqliteDriver("x")
        await driver.open()
        for call in (lambda: driver.run("SELECT :a", {"a": 1}), lambda: driver.script("SELECT 1")):
            database.call = throwing(thrown)
            with pytest.raises(StoreError) as refused:
                call()
            assert kind_of(refused.value) == kind and thrown.message in str(refused.value)
            database.call = lambda *_: "[[]]"
            assert driver.run("SELECT :a", {"a": 1}) == []

    @pytest.mark.parametrize("value", [b"x", object(), {1}, 10**5000, float("nan")], ids=type_of)
    async def test_a_value_without_a_text_is_refused(self, bridge: Any, value: Any) -> None:
        driver = bridge.module.WaSqliteDriver("x")
        await driver.open()
        with pytest.raises(StoreError) as refused:
            driver.run("SELECT :a", {"a": value})
        assert kind_of(refused.value) == "data"

    async def test_a_value_that_is_too_large_does_not_cross(self, bridge: Any, database: FakeDatabase) -> None:
        bridge.module.MOST_CHARACTERS = 1_000
        driver = bridge.module.WaSqliteDriver("x")
        await driver.open()
        database.call = throwing(AssertionError("it crossed"))
        with pytest.raises(StoreError, match="characters are too many; 1000 can be stored at once") as refused:
            driver.run("SELECT :a", {"a": "x" * 1_000})
        assert kind_of(refused.value) == "data"


class TestIndexedDb:
    async def opened(self, bridge: Any) -> Any:
        driver = bridge.module.IndexedDbDriver("x")
        await driver.open()
        return driver

    @pytest.mark.parametrize("key", [b"x", object(), {1}, 10**5000], ids=type_of)
    async def test_reads_without_a_text_leave_nothing_to_wait_for(
        self, bridge: Any, at_once: AtOnce, key: object
    ) -> None:
        driver = await self.opened(bridge)
        with pytest.raises((TypeError, ValueError)):
            await at_once(driver.transact([{"op": "get", "store": "steps", "key": ["a", key]}], lambda found: {}))
        await at_once(driver.settle())

    @pytest.mark.parametrize("error", [JsException("RangeError", "Invalid string length"), MemoryError(), SystemExit()])
    async def test_a_transaction_that_cannot_begin_is_forgotten(
        self, bridge: Any, database: FakeDatabase, at_once: AtOnce, error: Any, settle: Any
    ) -> None:
        driver = await self.opened(bridge)

        def fail(*_: object) -> None:
            raise error

        waiting: list[asyncio.Task[None]] = []

        def fail_while_another_waits(*_: object) -> None:
            waiting.append(asyncio.create_task(driver.settle()))
            raise error

        for database.call in (fail, fail_while_another_waits):
            with pytest.raises(type(error)):
                await driver.transact([], lambda found: {})
        await settle()
        assert all(task.done() for task in waiting)
        await at_once(driver.settle())

    @pytest.mark.parametrize(
        ("told", "kind"),
        [
            ('{"message":"m","isFull":false,"isFinal":false,"isCausedByData":true}', "data"),
            ('{"message":"m","isFull":true}', "full"),
            ('{"message":"m","isFinal":true}', "final"),
            ('{"message":"m"}', "passing"),
        ],
    )
    async def test_a_refusal_is_of_the_kind_that_javascript_tells(
        self, bridge: Any, database: FakeDatabase, told: str, kind: str
    ) -> None:
        driver = await self.opened(bridge)
        _, end = bridge.functions
        database.call = lambda number, reads: asyncio.get_running_loop().call_soon(end, number, told)
        with pytest.raises(StoreError, match="m") as refused:
            await driver.transact([], lambda found: {})
        assert kind_of(refused.value) == kind

    async def test_a_decision_that_is_too_large_does_not_cross(self, bridge: Any, database: FakeDatabase) -> None:
        bridge.module.MOST_CHARACTERS = 1_000
        driver = await self.opened(bridge)
        decide, end = bridge.functions
        crossed: list[str] = []

        def transact(number: int, reads: str) -> None:
            crossed.append(decide(number, "[]"))
            asyncio.get_running_loop().call_soon(end, number, None)

        database.call = transact
        with pytest.raises(StoreError, match="too many") as refused:
            await driver.transact([], lambda found: {"writes": [{"op": "put", "store": "runs", "record": "x" * 1_000}]})
        assert kind_of(refused.value) == "data" and crossed == ["null"]
