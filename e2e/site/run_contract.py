"""Every clause of the contract against the real IndexedDB, each with a database of its own."""

import itertools
import json
import traceback

from durably_wasm.browser import IndexedDbStore
from durably_wasm.browser.bridge import IndexedDbDriver
from tests.contract import database_clauses, driver_clauses, store_clauses

_numbers = itertools.count()


async def run_all() -> str:
    """Return JSON: for each clause by its name None, or the traceback of its failure."""
    results = {}
    for name, clause in store_clauses().items():
        results[f"store: {name}"] = await _outcome(clause, await _store(_fresh_name()))
    for name, clause in database_clauses().items():
        database = _fresh_name()
        results[f"database: {name}"] = await _outcome(clause, lambda database=database: _store(database))
    for name, clause in driver_clauses().items():
        driver = IndexedDbDriver(_fresh_name())
        await driver.open()
        results[f"driver: {name}"] = await _outcome(clause, driver)
    return json.dumps(results)


async def _store(database):
    store = IndexedDbStore(database)
    await store.migrate()
    return store


async def _outcome(clause, subject):
    try:
        await clause(subject)
    except Exception:
        return traceback.format_exc()
    return None


def _fresh_name():
    return f"contract-{next(_numbers)}"
