"""Time, the only module that reads it.

The engine takes a `Clock` as an argument, so that a test can bring its own (`durably_wasm.testing.FakeClock`).
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

from durably_wasm.cancellation import cancel_and_wait


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware in UTC."""
        ...

    async def sleep(self, ms: int) -> None:
        """Return `ms` milliseconds later."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    async def sleep(self, ms: int) -> None:
        """Return `ms` milliseconds later."""
        await asyncio.sleep(ms / 1000)


async def event_or_sleep(event: asyncio.Event, clock: Clock, ms: int, *others: asyncio.Task[None]) -> None:
    """Return when the event is set, `ms` milliseconds later, or when one of the others has ended."""
    waits = [asyncio.create_task(event.wait()), asyncio.create_task(clock.sleep(ms))]
    try:
        await asyncio.wait([*waits, *others], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*waits)


class Breather:
    """Gives the event loop a turn now and then, however busy its owner is.

    Steps and runs over a synchronous store never suspend, and one screen frame, 16 ms, is how long a page, a timer or a
    cancellation may have to wait for them. This is real time, whatever clock the engine runs on.
    """

    def __init__(self, every_ms: int = 16) -> None:
        self._every = every_ms / 1000
        self._last = time.perf_counter()

    async def breathe_if_due(self) -> None:
        """Let the event loop run if it is due."""
        if time.perf_counter() - self._last >= self._every:
            await asyncio.sleep(0)
            self._last = time.perf_counter()
