"""The figures as a table, with the targets that they are held against by whoever reads it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from e2e.bench import crowded, memory, resuming, tabs, working
from e2e.bench.measuring import Figures, Subject
from e2e.bench.targets import TARGETS, Target

TITLES = {
    "steps_per_s": f"steps per second, a run of {working.STEPS:,} (upstream: {working.UPSTREAM_STEPS})",
    "triggers_per_s": f"triggers per second, {working.TRIGGERS} one by one (upstream: {working.UPSTREAM_TRIGGERS})",
    "batch_runs_per_s": f"runs per second of one batch of {working.BATCH}",
    "short_runs_per_s": f"short runs per second, backlog {working.BACKLOG} (upstream: {working.UPSTREAM_COUNTED})",
    "trigger_to_complete_ms": "trigger to output, one step, idle engine, ms",
    "reload_to_next_step_ms": "reload to next step, navigation = 0, 30 s lease, ms",
    "replay_1000_ms": f"replay of {resuming.REPLAYED:,} steps, ms (upstream: {resuming.UPSTREAM_REPLAYED}, scaled up)",
    "claim_ms_at_100k": f"claim and complete, {crowded.ENDED:,} ended runs in the store, ms",
    "hard_cancel_ms": "cancel of a run that computes for ever, ms",
    "list_on_screen_ms": f"navigation to a list of {resuming.LISTED} runs on the screen, warm cache, ms",
    "takeover_ms": "closing the leader to the next step in another tab, ms",
    "tab_mb": f"a further tab of {tabs.TABS}, MB",
    "heap_mb": f"growth of the heap over {memory.RUNS:,} runs, MB",
    "boot_ms": "navigation to ready, warm cache, ms",
}
NAMES = {
    "sqlite": "durably_wasm, wa-sqlite",
    "indexeddb": "durably_wasm, IndexedDB",
    "upstream": "@coji/durably, SQLocal",
    "raw_sqlite": "wa-sqlite, no engine",
    "raw_indexeddb": "IndexedDB, no engine",
    "plain": "plain loadPyodide + wheels + import pydantic",
}
VARIANTS = {
    "_1mb_input": ", 1 MB input",
    "_empty": ", empty",
    "_wasm": ", wasm heap at the end",
    "_js": ", worker's JavaScript heap at the end",
}

_FIRST, _FIGURE = 66, 10


def print_table(measured: Mapping[Subject, Figures], rounds: int, browser: str) -> None:
    print(f"durably_wasm in Chromium {browser}, one session on a persistent profile; {rounds} round(s), in turns.")
    print("Upstream is @coji/durably 0.15.0 on SQLocal, polling every 50 ms. Each has worked for a while before.")
    for key, title in TITLES.items():
        rows = {of: figures for (row_key, of), figures in measured.items() if row_key == key}
        if rows:
            print()
            print(title.ljust(_FIRST) + "".join(head.rjust(_FIGURE) for head in ("median", "least", "most")))
        for of in sorted(rows, key=_place):
            print(_row(key, of, rows[of], measured))


def _place(of: str) -> tuple[int, str]:
    """Order rows by whom they are about; the stages and parts of each below it, as they come."""
    known = [place for place, name in enumerate(NAMES) if of.startswith(name)]
    return (known[-1] if known else len(NAMES), "")


def _row(key: str, of: str, figures: Figures, measured: Mapping[Subject, Figures]) -> str:
    name = f"  {_name(of)}"
    if isinstance(figures, str):
        return f"{name}: {figures}"
    values = (statistics.median(figures), min(figures), max(figures))
    cells = name.ljust(_FIRST) + "".join(_number(value).rjust(_FIGURE) for value in values)
    return f"{cells}  {_held_against(key, of, measured)}".rstrip()


def _name(of: str) -> str:
    if of in NAMES:
        return NAMES[of]
    for suffix, text in VARIANTS.items():
        if of.endswith(suffix):
            return _name(of.removesuffix(suffix)) + text
    engine, _, part = of.partition(", ")
    return f"  {part}" if engine in NAMES else of


def _held_against(key: str, of: str, measured: Mapping[Subject, Figures]) -> str:
    texts = (_comparison(target, measured) for target in TARGETS if target.subject == (key, of))
    return ", ".join(text for text in texts if text)


def _comparison(target: Target, measured: Mapping[Subject, Figures]) -> str:
    value = target.value(measured)
    if value is None:
        return ""
    sign = "≤" if target.at_most else "≥"
    mark = "✓" if target.is_met(value) else "✗"
    shown = "" if target.against is None else f"{value:.3g} "
    return f"{mark} {shown}{target.text} ({sign} {target.bound:.3g})"


def _number(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
