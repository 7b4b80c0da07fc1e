"""An option is in its range, or the engine is not made and the message says which it was."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import FrozenInstanceError, asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import Durably, Event, StepContext, ValidationError, create_durably, define_job
from durably_wasm.clock import SystemClock
from durably_wasm.options import LONGEST_MS, Options, Retention, retention
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Settle

DURATIONS = ["polling_interval_ms", "lease_ms", "lease_renew_interval_ms"]


@define_job("job")
async def nothing(step: StepContext) -> None: ...


def make(**options: Any) -> Durably:
    return create_durably(MemoryStore(), **options)


def test_the_defaults_are_as_documented() -> None:
    assert asdict(Options()) == {
        "polling_interval_ms": 1_000,
        "max_concurrent_runs": 1,
        "lease_ms": 30_000,
        "lease_renew_interval_ms": 5_000,
        "preserve_steps": False,
        "retain_runs": None,
        "max_claims_without_progress": 20,
        "exclusive": False,
    }


def test_options_are_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        Options().lease_ms = 1  # type: ignore[misc]


@pytest.mark.parametrize("value", [1, 2, 1_000, 10**9, LONGEST_MS])
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_is_a_positive_integer(name: str, value: int) -> None:
    make(**{name: value})


OTHER_DURATIONS = [
    *(0, -1, 1.0, 0.5, "1000", b"1", None, True, float("nan"), float("inf"), -float("inf")),
    *(timedelta(seconds=1), LONGEST_MS + 1, 10**15, 10**400, [1]),
]


@pytest.mark.parametrize("value", OTHER_DURATIONS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", DURATIONS)
def test_another_duration_is_refused(name: str, value: object) -> None:
    with pytest.raises(
        ValidationError, match=f"^{name} must be an integer of at least 1 and at most {LONGEST_MS}, not "
    ) as raised:
        make(**{name: value})
    assert str(raised.value).endswith(repr(value)[-10:])


@pytest.mark.parametrize("value", [1, 2, 999, 1000])
def test_max_concurrent_runs_is_from_1_to_1000(value: int) -> None:
    make(max_concurrent_runs=value)


@pytest.mark.parametrize("value", [0, -1, 1001, 1.5, 2.0, "2", None, True], ids=repr)
def test_other_max_concurrent_runs_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match=r"^max_concurrent_runs must be an integer from 1 to 1000, not "):
        make(max_concurrent_runs=value)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (None, None),
        ("30d", timedelta(days=30)),
        ("24h", timedelta(hours=24)),
        ("60m", timedelta(minutes=60)),
        ("1m", timedelta(minutes=1)),
        ("3650d", timedelta(days=3650)),
        (timedelta(seconds=1), timedelta(seconds=1)),
    ],
    ids=repr,
)
def test_retain_runs_is_a_number_of_days_hours_or_minutes(text: Retention, length: timedelta | None) -> None:
    assert retention(text) == length
    make(retain_runs=text)


@pytest.mark.parametrize(
    "value",
    [
        *("", "30", "d", "30s", "30 d", " 30d", "30d ", "30d\n", "30D", "-1d", "0d", "00m", "030d", "1.5h", "1h30m"),
        *("\u0663d", "1\u0663d", "30days", "999999999999999999d"),
        *(30, 0, True, timedelta(0), timedelta(days=-1), ["30d"]),
    ],
    ids=ascii,
)
def test_other_retain_runs_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match=r'^retain_runs must be like "30d", "24h" or "60m"') as raised:
        make(retain_runs=value)
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize("retained", [timedelta.max, timedelta(microseconds=1), "999999d"], ids=repr)
async def test_the_longest_durations_let_runs_be_claimed_and_kept(
    retained: Retention, clock: FakeClock, settle: Settle
) -> None:
    longest = dict.fromkeys(DURATIONS, LONGEST_MS)
    durably = create_durably(MemoryStore(), clock=clock, jobs={"job": nothing}, retain_runs=retained, **longest)
    troubles: list[Event] = []
    durably.on("worker:error", troubles.append)
    async with durably:
        run = await durably.jobs.job.trigger()
        ended = await durably.wait_for_run(run.id, timeout_ms=10**400)
        clock.advance(10_000)
        await settle()
    assert ended.status == "completed"
    assert troubles == []


class TestWaiting:
    @pytest.mark.parametrize(
        "value", [value for value in OTHER_DURATIONS if value is not None], ids=lambda value: repr(value)[:20]
    )
    async def test_another_polling_interval_is_refused(self, value: Any, at_once: AtOnce) -> None:
        durably = make(jobs={"job": nothing})
        run = await durably.jobs.job.trigger()
        with pytest.raises(ValidationError, match=r"^polling_interval_ms must be "):
            await at_once(durably.wait_for_run(run.id, polling_interval_ms=value))
        with pytest.raises(ValidationError, match=r"^polling_interval_ms must be "):
            await at_once(durably.jobs.job.trigger_and_wait(polling_interval_ms=value))
        assert len(await durably.get_runs()) == 1

    @pytest.mark.parametrize(
        "value", [-1, -(10**15), 0.5, 1.0, float("nan"), -float("inf"), "1000", True, False, timedelta(1)], ids=repr
    )
    async def test_another_timeout_is_refused(self, value: Any, at_once: AtOnce) -> None:
        durably = make(jobs={"job": nothing})
        run = await durably.jobs.job.trigger()
        with pytest.raises(ValidationError, match=r"^timeout_ms must be "):
            await at_once(durably.wait_for_run(run.id, timeout_ms=value))
        with pytest.raises(ValidationError, match=r"^timeout_ms must be "):
            await at_once(durably.jobs.job.trigger_and_wait(timeout_ms=value))
        assert len(await durably.get_runs()) == 1

    @pytest.mark.parametrize("value", [None, float("inf"), 10**15, 10**400, 2**31], ids=lambda value: repr(value)[:20])
    async def test_a_long_timeout_is_waited_for(self, value: Any, clock: FakeClock, settle: Settle) -> None:
        durably = create_durably(MemoryStore(), clock=clock, jobs={"job": nothing})
        run = await durably.jobs.job.trigger()
        waiting = asyncio.create_task(durably.wait_for_run(run.id, timeout_ms=value, polling_interval_ms=10**12))
        await settle()
        clock.advance(2**31 - 1)
        await settle()
        assert not waiting.done()
        await durably.process_one()
        await settle()
        assert waiting.done() and waiting.result().status == "completed"


class TestSystemClock:
    """A browser's timer fires at once when it is set to more than 31 bits of milliseconds."""

    @pytest.mark.parametrize("ms", [2**31, 2**31 + 5, 10**12, 10**400], ids=lambda ms: repr(ms)[:12])
    async def test_waits_in_parts_that_a_timer_can_wait(self, ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                raise TimeoutError

        monkeypatch.setattr(asyncio, "sleep", sleep)
        with suppress(TimeoutError):
            await SystemClock().sleep(ms)
        assert max(slept) == (2**31 - 1) / 1000
        if ms < 2**32:
            assert sum(slept) * 1000 == pytest.approx(ms)


@pytest.mark.parametrize("labels", [object(), 5], ids=["object", "5"])
def test_labels_are_a_type_that_pydantic_knows(labels: object) -> None:
    with pytest.raises(ValidationError, match="is not a type"):
        make(labels=labels)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="lease"):
        make(lease=1)
