"""The figures to reach, each as a comparison with another figure of the same session or with a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from e2e.bench.measuring import Figures, Subject, median


@dataclass(frozen=True, slots=True)
class Target:
    """A figure's ratio to another, or the figure itself, and its bound: the least, or `at_most` the most."""

    subject: Subject
    bound: float
    text: str
    against: Subject | None = None
    at_most: bool = False

    def value(self, measured: Mapping[Subject, Figures]) -> float | None:
        """Return what is held against the bound, or None when it was not measured."""
        figure = median(measured.get(self.subject))
        if self.against is None or figure is None:
            return figure
        other = median(measured.get(self.against))
        return figure / other if other else None

    def is_met(self, value: float) -> bool:
        """Say whether a value is within the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


COMMITS_OF_A_TRIGGER = 2  # the outbox, the run; answered calls leave the outbox many at a time
COMMITS_OF_A_SHORT_RUN = 3  # claim, step, completion
STORES = ("sqlite", "indexeddb")


def _times_upstream(key: str, store: str, bound: float) -> Target:
    return Target((key, store), bound, "x upstream", (key, "upstream"))


def _of_raw(key: str, store: str, bound: float, commits: int = 1) -> Target:
    text = "of raw" if commits == 1 else f"of raw / {commits} commits"
    return Target((key, store), bound / commits, text, ("steps_per_s", f"raw_{store}"))


TARGETS = [
    _times_upstream("steps_per_s", "sqlite", 100),
    _of_raw("steps_per_s", "sqlite", 0.5),
    _times_upstream("steps_per_s", "indexeddb", 28),
    _of_raw("steps_per_s", "indexeddb", 0.7),
    *(Target(("steps_per_s", f"{store}_1mb_input"), 0.9, "of small", ("steps_per_s", store)) for store in STORES),
    _times_upstream("triggers_per_s", "sqlite", 40),
    _of_raw("triggers_per_s", "indexeddb", 0.6, COMMITS_OF_A_TRIGGER),
    *(_times_upstream("batch_runs_per_s", store, 10) for store in STORES),
    _times_upstream("short_runs_per_s", "sqlite", 50),
    _of_raw("short_runs_per_s", "indexeddb", 0.6, COMMITS_OF_A_SHORT_RUN),
    *(Target(("trigger_to_complete_ms", store), 10, "ms", at_most=True) for store in STORES),
    *(Target(("reload_to_next_step_ms", store), 900, "ms", at_most=True) for store in STORES),
    *(Target(("replay_1000_ms", store), 100, "ms", at_most=True) for store in STORES),
    *(Target(("hard_cancel_ms", store), 4_000, "ms", at_most=True) for store in STORES),
    Target(("list_on_screen_ms", "indexeddb"), 150, "ms", at_most=True),
    *(Target(("takeover_ms", store), 1_000, "ms", at_most=True) for store in STORES),
    *(
        Target(("claim_ms_at_100k", store), 1.5, "x empty", ("claim_ms_at_100k", f"{store}_empty"), at_most=True)
        for store in STORES
    ),
    *(Target(("heap_mb", store), 0.5, "MB", at_most=True) for store in STORES),
    *(Target(("boot_ms", store), 0.35, "of plain", ("boot_ms", "plain"), at_most=True) for store in STORES),
]
