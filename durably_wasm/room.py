"""Room in the store: what goes when it is kept long enough, and what is tried when there is none left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from durably_wasm.environment import Environment
from durably_wasm.errors import StoreError
from durably_wasm.models import to_iso
from durably_wasm.options import retention

T = TypeVar("T")

_PURGED_AT_ONCE = 100
_BEGINNING = datetime.min.replace(tzinfo=UTC)


async def purge_ended(environment: Environment) -> int:
    """Delete up to 100 runs that have been kept as long as `retain_runs` says, and return how many.

    Raises:
        StoreError: The database refused.
    """
    now, kept = environment.clock.now(), retention(environment.options.retain_runs)
    if kept is None or kept >= now - _BEGINNING:
        return 0
    return await environment.store.purge_runs(to_iso(now - kept), _PURGED_AT_ONCE)


async def with_room(environment: Environment, call: Callable[[], Awaitable[T]]) -> T:
    """Call the store; where it is full, purge and call again, as long as there is anything to purge.

    An error that is final ends the engine.

    Raises:
        StoreError: The database refused.
    """
    while True:
        try:
            return await call()
        except StoreError as error:
            environment.note(error)
            if not error.is_full or await purge_ended(environment) == 0:
                raise
