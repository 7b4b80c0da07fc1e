"""Time, the only module that reads it.

The engine takes a `Clock` as an argument, so that a test can bring its own (`durably_wasm.testing.FakeClock`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from durably_wasm.cancellation import cancel_and_wait

_LONGEST_TIMER_MS = 2**31 - 1  # a browser's timer counts in 32 bits, and fires at once when it is set to more


class Clock(Protocol):
    """What the engine asks of time.

    A clock may also have ``monotonic() -> float``, milliseconds from any point, unmoved by a change of the wall clock;
    see `monotonic_of`.
    """

    def now(self) -> datetime:
        """Return the present moment, timezone-aware in UTC."""
        ...

    async def sleep(self, ms: int) -> None:
        """Return `ms` milliseconds later."""
        ...


@runtime_checkable
class _HasMonotonic(Protocol):
    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the milliseconds since some moment; they go on when the wall clock is set."""
        return time.perf_counter() * 1000

    async def sleep(self, ms: int) -> None:
        """Return `ms` milliseconds later."""
        while ms > _LONGEST_TIMER_MS:
            await asyncio.sleep(_LONGEST_TIMER_MS / 1000)
            ms -= _LONGEST_TIMER_MS
        await asyncio.sleep(ms / 1000)


def monotonic_of(clock: Clock) -> Callable[[], float]:
    """Return what reads a clock's milliseconds that never go back, for durations.

    Of a clock without ``monotonic`` they are the steps forward of its `now`: while it is set back, no time passes.
    """
    if isinstance(clock, _HasMonotonic):
        return clock.monotonic
    last, elapsed = clock.now(), 0.0

    def read() -> float:
        nonlocal last, elapsed
        now = clock.now()
        elapsed += max(0.0, (now - last).total_seconds() * 1000)
        last = now
        return elapsed

    return read


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
