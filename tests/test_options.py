"""An option is in its range, or the engine is not made and the message says which it was."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from datetime import timedelta
from typing import Any

import pytest

from durably_wasm import Durably, ValidationError, create_durably
from durably_wasm.options import Options, Retention, retention
from durably_wasm.stores import MemoryStore

DURATIONS = ["polling_interval_ms", "lease_ms", "lease_renew_interval_ms"]


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


@pytest.mark.parametrize("value", [1, 2, 1_000, 10**9])
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_is_a_positive_integer(name: str, value: int) -> None:
    make(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 1.0, 0.5, "1000", None, True, float("nan"), timedelta(seconds=1)], ids=repr)
@pytest.mark.parametrize("name", DURATIONS)
def test_another_duration_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"^{name} must be an integer of at least 1, not ") as raised:
        make(**{name: value})
    assert str(raised.value).endswith(repr(value))


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


@pytest.mark.parametrize("labels", [object(), 5], ids=["object", "5"])
def test_labels_are_a_type_that_pydantic_knows(labels: object) -> None:
    with pytest.raises(ValidationError, match="is not a type"):
        make(labels=labels)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="lease"):
        make(lease=1)
