"""A fake clock stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from durably_wasm import Clock
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Settle


def test_starts_at_a_fixed_time_in_utc() -> None:
    clock: Clock = FakeClock()
    assert clock.now() == FakeClock().now() == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.now().utcoffset() == timedelta(0)
    assert FakeClock(datetime(2020, 2, 3, tzinfo=UTC)).now() == datetime(2020, 2, 3, tzinfo=UTC)


def test_moves_only_when_it_is_moved() -> None:
    clock = FakeClock()
    clock.advance(1_500)
    clock.advance(0)
    assert clock.now() == clock.now() == datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


async def test_wakes_sleepers_whose_moment_has_come_in_order(clock: FakeClock, settle: Settle) -> None:
    woken: list[str] = []

    async def sleep(ms: int, name: str) -> None:
        await clock.sleep(ms)
        woken.append(name)

    tasks = [asyncio.create_task(sleep(ms, name)) for ms, name in ((30, "c"), (10, "a"), (20, "b"), (10, "a again"))]
    await settle()
    clock.advance(9)
    await settle()
    assert woken == []
    clock.advance(1)
    await settle()
    assert woken == ["a", "a again"]
    clock.advance(100)
    await settle()
    assert woken == ["a", "a again", "b", "c"]
    await asyncio.gather(*tasks)


async def test_counts_a_sleep_from_where_it_began(clock: FakeClock, settle: Settle) -> None:
    clock.advance(500)
    task = asyncio.create_task(clock.sleep(1_000))
    await settle()
    clock.advance(999)
    await settle()
    assert not task.done()
    clock.advance(1)
    await settle()
    assert task.done()


async def test_forgets_a_sleeper_that_was_cancelled(clock: FakeClock, settle: Settle) -> None:
    tasks = [asyncio.create_task(clock.sleep(10)) for _ in range(2)]
    await settle()
    tasks[0].cancel()
    await settle()
    clock.advance(10)
    await settle()
    assert tasks[0].cancelled() and tasks[1].done() and not tasks[1].cancelled()


async def test_lets_who_sleeps_no_time_go_on(clock: FakeClock, at_once: AtOnce) -> None:
    await at_once(clock.sleep(0))
