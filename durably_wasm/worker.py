"""The loop around `process_one`: wake, poll, slots, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context

from durably_wasm.cancellation import cancel_and_wait
from durably_wasm.clock import Clock, event_or_sleep
from durably_wasm.errors import StoreError
from durably_wasm.slots import Slots

ProcessOne = Callable[[], Awaitable[bool]]

_FIRST_PAUSE_MS = 100
_LONGEST_PAUSE_MS = 10_000


class Worker:
    """Keeps slots busy with `process_one`, which says whether there was anything to do: a number of them, its size, and
    one more for each that is lent.

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
        monotonic: Callable[[], float],
        polling_interval_ms: int,
        size: int,
        slots: Slots,
        waits_for_store: Callable[[], bool],
        report: Callable[[Exception], None],
    ) -> None:
        self._process_one = process_one
        self._maintain = maintain
        self._clock = clock
        self._monotonic = monotonic
        self._polling_interval_ms = polling_interval_ms
        self._size = size
        self._slots = slots
        self._waits_for_store = waits_for_store
        self._report = report
        self._running: set[asyncio.Task[None]] = set()
        self._joining = 0  # calls of `process_one` by hand whose run has ended
        self._context = copy_context()
        self._polling: asyncio.Task[None] | None = None
        self._maintained: float | None = None
        self._news = asyncio.Event()
        self._stopping = False
        self._outage = False

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not stopped since."""
        return self._polling is not None

    def start(self) -> None:
        """Begin to work; harmless when it has begun."""
        if self._polling is None:
            self._stopping = False
            self._slots.open()
            self._context = copy_context()
            self._polling = asyncio.create_task(self._poll())
            self.fill()

    def fill(self) -> None:
        """Have a loop for each slot, and one more for each that is lent; those that are too many end by themselves."""
        while not self._stopping and len(self._running) < self._wanted:
            loop = asyncio.create_task(
                self._work(), context=self._context.copy()
            )  # and not in that of a run that waits
            self._running.add(loop)
            loop.add_done_callback(self._running.discard)
        if self._is_crowded:
            self.wake()

    def wake(self) -> None:
        """Let the idle slots look for work now."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def end_claims(self, *, keeps_runs: bool = True) -> None:
        """Take on nothing new; unless runs are kept, those that wait for others give their leases back."""
        self._stopping = True
        self._slots.close(keeps_runs=keeps_runs)
        self.wake()

    async def cancel(self) -> None:
        """Take on nothing new, cancel what is in flight, and return when it has ended."""
        self.end_claims(keeps_runs=False)
        await self.cancel_loops()
        await self._rest()

    async def stop(self) -> None:
        """Take on nothing new, and return when what is in flight has ended."""
        self.end_claims()
        await self._join()
        await self._rest()

    async def finish_lent(self) -> None:
        """Return when all that was begun beside a `process_one` by hand has ended; its slot is there for that."""
        self._joining += 1
        try:
            self.fill()
            await self._join()
        finally:
            self._joining -= 1

    async def _join(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    async def cancel_loops(self) -> None:
        """Cancel what is in flight, and return when it has ended."""
        await cancel_and_wait(*self._running)
        self.fill()

    async def _rest(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            await cancel_and_wait(polling)
        self._stopping = False
        self._slots.open()
        self.fill()  # for runs that wait inside a `process_one` by hand

    @property
    def _wanted(self) -> int:
        if self.is_running:
            return self._slots.lent + self._size
        return self._slots.lent + min(self._slots.lent, self._joining)

    @property
    def _is_crowded(self) -> bool:
        return len(self._running) > self._wanted

    def _may_go_on(self) -> bool:
        """Say whether the loop that asks may; one that is too many is forgotten."""
        if self._is_crowded:
            self._running.discard(_running_task())
            return False
        return not self._stopping

    async def _work(self) -> None:
        pause = _FIRST_PAUSE_MS
        while self._may_go_on():
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
        now = self._monotonic()
        if self._maintained is None or now - self._maintained >= self._polling_interval_ms:
            self._maintained = now
            await self._maintain()

    def _note_failure(self, error: Exception) -> None:
        is_final = isinstance(error, StoreError) and error.is_final and not self._stopping
        if is_final or not self._outage:
            self._report(error)
        self._outage = True
        if is_final:
            self.end_claims()


def _running_task() -> asyncio.Task[None]:
    task: asyncio.Task[None] | None = asyncio.current_task()
    assert task is not None
    return task
