"""The medians as `results.json`, which the README's figures and chart come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from e2e.bench.measuring import Figures, Subject, median

KEYS = (
    "steps_per_s",
    "triggers_per_s",
    "batch_runs_per_s",
    "short_runs_per_s",
    "trigger_to_complete_ms",
    "reload_to_next_step_ms",
    "replay_1000_ms",
    "claim_ms_at_100k",
    "heap_mb",
    "boot_ms",
    "hard_cancel_ms",
    "list_on_screen_ms",
    "takeover_ms",
    "tab_mb",
)

Results = dict[str, dict[str, float | None]]


def results(measured: Mapping[Subject, Figures]) -> Results:
    """Return the medians by key and by whose they are, null where there are none; parts of a figure stay out."""
    return {
        key: {of: _rounded(median(figures)) for (row, of), figures in measured.items() if row == key and "," not in of}
        for key in KEYS
    }


def write(found: Results, path: Path) -> None:
    path.write_text(json.dumps(found, indent=2) + "\n")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
