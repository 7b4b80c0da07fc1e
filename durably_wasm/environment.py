"""What every part of one engine works with, handed to each rather than found by it."""

from __future__ import annotations

from dataclasses import dataclass

from durably_wasm.clock import Breather, Clock
from durably_wasm.events import Emitter
from durably_wasm.models import to_iso
from durably_wasm.options import Options
from durably_wasm.stores import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """One engine's store, clock, emitter and options, and what gives the event loop its turns."""

    store: Store
    clock: Clock
    emitter: Emitter
    options: Options
    breather: Breather

    def now(self) -> str:
        """Return the present time as stored times are written."""
        return to_iso(self.clock.now())
