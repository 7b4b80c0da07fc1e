"""Where runs and steps live: the `Store` contract and its implementations.

`MemoryStore` keeps nothing, `SqliteStore` a file; the browser's stores are in `durably_wasm.browser`.
"""

from durably_wasm.stores.base import Store
from durably_wasm.stores.memory import MemoryStore
from durably_wasm.stores.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "Store"]
