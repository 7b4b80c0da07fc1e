"""What users need to test their jobs: time that they move themselves, and a store that fails on demand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from durably_wasm.errors import StoreError
from durably_wasm.stores import Store


class FakeClock:
    """A `Clock` that stands still until `advance` moves it.

    durably = create_durably(MemoryStore(), clock=clock, jobs=...)
    clock.advance(30_000)  # a lease expires, without waiting for it
    clock.set(clock.now() - timedelta(hours=1))  # the wall clock is wrong; what sleeps is not affected
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the time that was set."""
        return self._now

    def monotonic(self) -> float:
        """Return by how many milliseconds the time was moved ahead so far."""
        return self._elapsed

    def set(self, now: datetime) -> None:
        """Set the wall clock, ahead or back, without time going by: no sleeper is woken."""
        self._now = now

    async def sleep(self, ms: int) -> None:
        """Return when the clock has been moved `ms` milliseconds ahead."""
        if ms <= 0:
            return await asyncio.sleep(0)
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + ms, next(self._order), wake))
        await wake

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds go by, and wake every sleeper whose moment has come, in order.

        A negative number sets the wall clock back, as `set` does.
        """
        self._now += timedelta(milliseconds=ms)
        self._elapsed += max(0, ms)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            wake = heapq.heappop(self._sleepers)[2]
            if not wake.done():
                wake.set_result(None)


class FaultyStore:
    """A `Store` around another that raises `StoreError` at chosen calls, before or after they have been applied.

        store = FaultyStore(MemoryStore())
        store.fail("persist_step", applied=True)   # the next checkpoint is stored, and its caller does not hear of it
        store.fail_at(3)                           # the third call from now on, whatever it is

    Attributes:
        calls: The names of the calls so far, in order.
    """

    def __init__(self, store: Store) -> None:
        self.calls: list[str] = []
        self._store = store
        self._by_name: dict[str, list[bool]] = {}
        self._by_number: dict[int, bool] = {}

    def fail(self, name: str, *, times: int = 1, applied: bool = False) -> None:
        """Fail the next calls of a method: `times` of them, after they have been applied or before."""
        self._by_name.setdefault(name, []).extend([applied] * times)

    def fail_at(self, number: int, *, applied: bool = False) -> None:
        """Fail one call by its number, counted from now on and from 1."""
        self._by_number[len(self.calls) + number] = applied

    def __getattr__(self, name: str) -> Any:
        """Return the store's method, with the fault before or after it."""
        method = getattr(self._store, name)

        async def call(*args: object, **kwargs: object) -> object:
            fault = self._fault_of(name)
            if fault is False:
                raise StoreError(f"{name} failed before it was applied")
            result = await method(*args, **kwargs)
            if fault is True:
                raise StoreError(f"{name} failed after it was applied")
            return result

        return call

    def _fault_of(self, name: str) -> bool | None:
        """Count a call, and say whether it fails: True after, False before it is applied, None not at all."""
        self.calls.append(name)
        planned = self._by_name.get(name)
        if planned:
            return planned.pop(0)
        return self._by_number.pop(len(self.calls), None)
