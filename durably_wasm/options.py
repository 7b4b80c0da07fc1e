"""The engine's options and all durations that a caller gives: their defaults and limits, in one place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from durably_wasm.errors import ValidationError
from durably_wasm.payloads import short_repr

Retention: TypeAlias = str | timedelta | None

LONGEST_MS = 10**12  # some thirty years: a lease that begins today can be written as a date, and a timer can wait
GRACE_MS = 5_000

_RETENTION = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `create_durably` takes beside store, jobs and clock; durations in milliseconds.

    Raises:
        ValidationError: An option is out of its range; the message names it.
    """

    polling_interval_ms: int = 1000
    max_concurrent_runs: int = 1
    lease_ms: int = 30_000
    lease_renew_interval_ms: int = 5_000
    preserve_steps: bool = False
    retain_runs: Retention = None
    max_claims_without_progress: int | None = 20
    exclusive: bool = False

    def __post_init__(self) -> None:
        check_interval("polling_interval_ms", self.polling_interval_ms)
        _check_integer("max_concurrent_runs", self.max_concurrent_runs, 1, 1000)
        if self.max_claims_without_progress is not None:
            _check_integer("max_claims_without_progress", self.max_claims_without_progress, 1)
        check_interval("lease_ms", self.lease_ms)
        check_interval("lease_renew_interval_ms", self.lease_renew_interval_ms)
        retention(self.retain_runs)


def retention(option: Retention) -> timedelta | None:
    """Return how long ended runs are kept; None for ever.

    Raises:
        ValidationError: The text is not a number of days, hours or minutes, such as ``"30d"``.
    """
    if isinstance(option, str) and (match := _RETENTION.fullmatch(option)):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if option is None or (isinstance(option, timedelta) and option > timedelta(0)):
        return option
    forms = '"30d", "24h" or "60m", or a positive timedelta'
    raise ValidationError(f"retain_runs must be like {forms}, not {short_repr(option)}")


def check_interval(name: str, value: object) -> None:
    """Check a duration that has to end: an integer of at least 1.

    Raises:
        ValidationError: It is none; the message names it.
    """
    if type(value) is not int or not 1 <= value <= LONGEST_MS:
        raise ValidationError(
            f"{name} must be an integer of at least 1 and at most {LONGEST_MS}, not {short_repr(value)}"
        )


def patience(name: str, value: float | None) -> int | None:
    """Return how long to wait for something, 0 included, as a timer takes it; None for ever.

    ``None`` and ``float("inf")`` mean for ever; more than `LONGEST_MS` is as long as that.

    Raises:
        ValidationError: It is no integer of at least 0; the message names it.
    """
    if value is None or (isinstance(value, float) and value == math.inf):
        return None
    if type(value) is int and value >= 0:
        return min(value, LONGEST_MS)
    raise ValidationError(f"{name} must be an integer of at least 0, None or infinity, not {short_repr(value)}")


def _check_integer(name: str, value: object, least: int, most: int | None = None) -> None:
    if type(value) is int and value >= least and (most is None or value <= most):
        return
    span = f"from {least} to {most}" if most is not None else f"of at least {least}"
    raise ValidationError(f"{name} must be an integer {span}, not {short_repr(value)}")
