"""What users need to test their jobs: time that they move themselves, and a store that fails on demand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta


class FakeClock:
    """A `Clock` that stands still until `advance` moves it.

    durably = create_durably(MemoryStore(), clock=clock, jobs=...)
    clock.advance(30_000)  # a lease expires, without waiting for it
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the time that was set."""
        return self._now

    async def sleep(self, ms: int) -> None:
        """Return when the clock has been moved `ms` milliseconds ahead."""
        if ms <= 0:
            return await asyncio.sleep(0)
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(milliseconds=ms), next(self._order), wake))
        await wake

    def advance(self, ms: int) -> None:
        """Move the time, and wake every sleeper whose moment has come, in order."""
        self._now += timedelta(milliseconds=ms)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            wake = heapq.heappop(self._sleepers)[2]
            if not wake.done():
                wake.set_result(None)
