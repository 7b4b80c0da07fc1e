"""What every store and every driver must do, one clause a sentence.

A clause is an async function. It takes one argument, named for what it needs:

- ``store``: a migrated, empty `Store`;
- ``open_store``: an async function that gives a further migrated handle on one and the same database, empty at first;
  whoever brings it closes the handles;
- ``driver``: an opened `ObjectDriver` on an empty database.

Nothing here knows pytest, reads a clock, sleeps or does I/O, so that the same files run in Pyodide, in the browser.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import FunctionType, ModuleType
from typing import Any, TypeAlias

from . import (
    calls,
    claim,
    claims,
    crashes,
    driver,
    ending,
    enqueue,
    epochs,
    leases,
    listing,
    logs,
    maintenance,
    payloads,
    progress,
    refusals,
    sharing,
    steps,
)

__all__ = ["Clause", "database_clauses", "driver_clauses", "store_clauses"]

Clause: TypeAlias = Callable[[Any], Awaitable[None]]

_MODULES = (
    enqueue,
    claim,
    leases,
    steps,
    progress,
    ending,
    listing,
    maintenance,
    payloads,
    logs,
    epochs,
    calls,
    crashes,
    claims,
    refusals,
    sharing,
    driver,
)


def store_clauses() -> dict[str, Clause]:
    """Return what every store must do, each clause by its name (``claim: takes the oldest first``)."""
    return _clauses_taking("store")


def database_clauses() -> dict[str, Clause]:
    """Return what a store must do whose database can be opened more than once."""
    return _clauses_taking("open_store")


def driver_clauses() -> dict[str, Clause]:
    """Return what the driver under an `IndexedDbStore` must do."""
    return _clauses_taking("driver")


def _clauses_taking(argument: str) -> dict[str, Clause]:
    return {
        f"{module.__name__.rpartition('.')[2]}: {clause.__name__.replace('_', ' ')}": clause
        for module in _MODULES
        for clause in _functions_of(module)
        if list(inspect.signature(clause).parameters) == [argument]
    }


def _functions_of(module: ModuleType) -> list[FunctionType]:
    """Return a module's own public async functions, in the order of the file."""
    return [
        value
        for name, value in vars(module).items()
        if inspect.iscoroutinefunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
