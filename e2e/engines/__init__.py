"""The browser engines that the tests run in: what each can do, and which are here.

`base.py` says what is asked of an engine; `chromium.py`, `firefox.py` and `webkit.py` drive one each.
"""

from __future__ import annotations

from e2e.engines.base import Engine, EngineError, Tab, Tabbed
from e2e.engines.chromium import Chromium
from e2e.engines.firefox import Firefox
from e2e.engines.webkit import WebKit

__all__ = ["ENGINES", "STORES", "TABBED", "Chromium", "Engine", "EngineError", "Firefox", "Tab", "Tabbed", "WebKit"]

ENGINES: tuple[type[Engine], ...] = (Chromium, Firefox, WebKit)

TABBED: tuple[type[Tabbed], ...] = (Chromium, Firefox)

# The stores that work in each engine as the tests run it.
STORES: dict[type[Engine], tuple[str, ...]] = {
    Chromium: ("indexeddb", "sqlite"),
    Firefox: ("indexeddb", "sqlite"),
    WebKit: ("indexeddb",),
}
