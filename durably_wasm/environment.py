"""What every part of one engine works with, handed to each rather than found by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from durably_wasm.clock import Breather, Clock
from durably_wasm.errors import StoreError, message_of
from durably_wasm.events import Emitter, ErrorContext, WorkerError
from durably_wasm.models import to_iso
from durably_wasm.options import Options
from durably_wasm.slots import Slots
from durably_wasm.stores import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """One engine's store, clock, emitter and options, and what gives the event loop its turns.

    `end(reason)` ends the engine: its store will never take its calls again. `slots` are those in which it executes
    runs. `now` is the wall clock's time, which may be set back; `monotonic` counts milliseconds, for durations.
    """

    store: Store
    clock: Clock
    emitter: Emitter
    options: Options
    breather: Breather
    end: Callable[[StoreError], None]
    monotonic: Callable[[], float]
    slots: Slots

    def note(self, error: BaseException) -> None:
        """End the engine if this is an error of the store that is final."""
        if isinstance(error, StoreError) and error.is_final:
            self.end(error)

    def report(self, error: BaseException, context: ErrorContext, run_id: str | None = None) -> None:
        """Emit ``worker:error``, and end the engine if this is an error of the store that is final."""
        self.note(error)
        self.emitter.emit(WorkerError(error=message_of(error), context=context, run_id=run_id))

    def now(self) -> str:
        """Return the present time as stored times are written."""
        return to_iso(self.clock.now())
