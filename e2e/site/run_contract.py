"""Every clause of the contract against the browser's real databases, each clause with a database of its own."""

import itertools
import json
import traceback

from durably_wasm.browser import IndexedDbStore, WaSqliteStore
from durably_wasm.browser.bridge import IndexedDbDriver
from tests.contract import database_clauses, driver_clauses, store_clauses

STORES = {"indexeddb": IndexedDbStore, "sqlite": WaSqliteStore}

_numbers = itertools.count()


async def run_all(kind: str) -> str:
    """Return JSON: for each clause by its name None, or the traceback of its failure."""
    open_store = STORES[kind]
    results = {}
    for name, clause in store_clauses().items():
        results[f"store: {name}"] = await _with_store(clause, open_store(_fresh_name()))
    for name, clause in database_clauses().items():
        results[f"database: {name}"] = await _with_database(clause, open_store, _fresh_name())
    if kind == "indexeddb":
        for name, clause in driver_clauses().items():
            driver = IndexedDbDriver(_fresh_name())
            await driver.open()
            results[f"driver: {name}"] = await _outcome(clause, driver)
    return json.dumps(results)


async def _with_store(clause, store):
    await store.migrate()
    try:
        return await _outcome(clause, store)
    finally:
        await store.close()


async def _with_database(clause, open_store, database):
    opened = []

    async def open_one():
        opened.append(open_store(database))
        await opened[-1].migrate()
        return opened[-1]

    try:
        return await _outcome(clause, open_one)
    finally:
        for store in opened:
            await store.close()


async def _outcome(clause, subject):
    try:
        await clause(subject)
    except Exception:
        return traceback.format_exc()
    return None


def _fresh_name():
    return f"contract-{next(_numbers)}"
