"""The loop around `process_one`: wake, poll, slots, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from durably_wasm.cancellation import cancel_and_wait
from durably_wasm.clock import Clock, event_or_sleep
from durably_wasm.errors import StoreError

ProcessOne = Callable[[], Awaitable[bool]]

_FIRST_PAUSE_MS = 100
_LONGEST_PAUSE_MS = 10_000


class Worker:
    """Keeps a number of slots busy with `process_one`, which says whether there was anything to do.

    An idle slot tries again when woken, and all do at the polling interval, at which an idle worker also calls
    `maintain`; none does while `waits_for_store` says that
    a run waits for its store. A claim that fails is retried with a growing pause, unless the store will never take it,
    which ends the worker; `report` hears of it once an outage.
    """

    def __init__(
        self,
        process_one: ProcessOne,
        maintain: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
        polling_interval_ms: int,
        slots: int,
        waits_for_store: Callable[[], bool],
        report: Callable[[Exception], None],
    ) -> None:
        self._process_one = process_one
        self._maintain = maintain
        self._clock = clock
        self._polling_interval_ms = polling_interval_ms
        self._slots = slots
        self._waits_for_store = waits_for_store
        self._report = report
        self._running: list[asyncio.Task[None]] = []
        self._polling: asyncio.Task[None] | None = None
        self._maintained: datetime | None = None
        self._news = asyncio.Event()
        self._stopping = False
        self._outage = False

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not stopped since."""
        return bool(self._running)

    def start(self) -> None:
        """Begin to work; harmless when it has begun."""
        if not self._running:
            self._stopping = False
            self._running = [asyncio.create_task(self._work()) for _ in range(self._slots)]
            self._polling = asyncio.create_task(self._poll())

    def wake(self) -> None:
        """Let the idle slots look for work now."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def stop(self) -> None:
        """Take on nothing new, and return when what is in flight has ended."""
        self._stopping = True
        self.wake()
        if self._running:
            await asyncio.wait(self._running)
        self._running = []
        if self._polling is not None:
            await cancel_and_wait(self._polling)

    async def _work(self) -> None:
        pause = _FIRST_PAUSE_MS
        while not self._stopping:
            news = self._news  # taken before the claim: what arrives during it must not be missed
            if self._waits_for_store():
                await event_or_sleep(news, self._clock, _FIRST_PAUSE_MS)
                continue
            try:
                worked = await self._process_one()
            except Exception as error:  # whatever it is, the worker must not end in silence
                self._note_failure(error)
                await event_or_sleep(news, self._clock, pause)
                pause = min(2 * pause, _LONGEST_PAUSE_MS)
                continue
            pause, self._outage = _FIRST_PAUSE_MS, False
            if not worked:
                await self._maintain_if_due()
                await news.wait()

    async def _poll(self) -> None:
        """Look, now and then, for what nobody told of: what another engine stored, leases that have expired."""
        while True:
            await self._clock.sleep(self._polling_interval_ms)
            if not self._outage:  # whose pauses grow
                self.wake()

    async def _maintain_if_due(self) -> None:
        """Do without it between two runs that follow each other: it looks at the store, too."""
        now = self._clock.now()
        if self._maintained is None or now - self._maintained >= timedelta(milliseconds=self._polling_interval_ms):
            self._maintained = now
            await self._maintain()

    def _note_failure(self, error: Exception) -> None:
        is_final = isinstance(error, StoreError) and error.is_final and not self._stopping
        if is_final or not self._outage:
            self._report(error)
        self._outage = True
        if is_final:
            self._stopping = True
            self.wake()
