"""What a measurement is, and how several are taken in turns."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from playwright.sync_api import Error as PlaywrightError

from e2e.bench.session import Session

Subject: TypeAlias = tuple[str, str]
"""What is measured, as a key of `results.json`, and of whom."""

Figures: TypeAlias = list[float] | str
"""The figures of all rounds; or why there are none."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One or more figures of a subject, or of several that are measured at once; `once` if one round is enough."""

    key: str
    of: str
    take: Callable[[Session], Mapping[str, list[float]]]
    once: bool = False


def measure(measurements: Iterable[Measurement], session: Session, rounds: int) -> dict[Subject, Figures]:
    """Take each measurement once a round, in turns; of one that fails, note why and do not try again."""
    taken: defaultdict[Subject, list[float]] = defaultdict(list)
    failed: dict[Subject, Figures] = {}
    planned = list(measurements)
    for number in range(rounds):
        for measurement in planned:
            subject = (measurement.key, measurement.of)
            if subject in failed or (number > 0 and measurement.once):
                continue
            _tell(f"round {number + 1} of {rounds}: {measurement.key}, {measurement.of}")
            try:
                for of, figures in measurement.take(session).items():
                    taken[measurement.key, of].extend(figures)
            except (PlaywrightError, RuntimeError, TimeoutError) as error:
                failed[subject] = _reason(error)
        session.end_round()
    _tell("")
    return {**taken, **failed}


def median(figures: Figures | None) -> float | None:
    """Return the median, or None when there are no figures."""
    return statistics.median(figures) if isinstance(figures, list) else None


def _reason(error: Exception) -> str:
    """Return the line that says what went wrong; Playwright wraps it in its own words and a stack."""
    return str(error).partition("\n")[0].removeprefix("Page.evaluate: ").removeprefix("Error: ")


def _tell(what: str) -> None:
    elapsed = time.monotonic() - _STARTED
    line = f"{elapsed:4.0f} s  {what}" if what else ""
    print(f"\r{line:<79}", end="\n" if not what else "", file=sys.stderr, flush=True)


_STARTED = time.monotonic()
