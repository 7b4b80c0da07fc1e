"""The figures as a table, with the targets that they are held against by whoever reads it."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from tests.bench import claims, engine

Figures: TypeAlias = tuple[float, float, float] | str
"""The median, the least and the most; or why there are none."""

_WIDTHS = (46, 11, 11, 11)


def print_table(measured: Mapping[str, Figures], rounds: int) -> None:
    print(f"durably_wasm on CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, DBOS {_dbos()}")
    print(f"Each measurement in a process of its own, in turns; the median of {rounds} round(s). Nothing is asserted.")
    _print_against_dbos("steps", f"steps per second, a run of {engine.STEPS:,} steps", measured)
    _print_against_dbos("workflows", f"workflows per second, {engine.RUNS:,} of one step", measured)
    for store in claims.STORES:
        _print_claims(store, measured)
    _print_alone("replay", f"replay of {engine.REPLAYED:,} finished steps, ms", measured, 1_000, "< 500")
    _print_alone("memory", f"memory kept per run, {engine.PROCESSED:,} runs, bytes", measured, 1, "constant: ~ 0")


def _print_against_dbos(kind: str, title: str, measured: Mapping[str, Figures]) -> None:
    ours = f"{kind}, durably_wasm"
    if ours not in measured:
        return
    _print_head(title, "times DBOS")
    _print_row("durably_wasm", measured[ours])
    for theirs, name in ((f"{kind}, DBOS", "DBOS as it comes"), (f"{kind}, DBOS with WAL", "DBOS, WAL and NORMAL")):
        ratio = _ratio(measured.get(ours), measured.get(theirs))
        _print_row(name, measured.get(theirs, "not measured"), f"{ratio:.1f}" if ratio else "", "≥ 5")


def _print_claims(store: str, measured: Mapping[str, Figures]) -> None:
    names = {ahead: f"claims, {store}, {ahead}" for ahead in claims.AHEAD}
    alone, *_ = names.values()
    if alone not in measured:
        return
    _print_head(f"claim + complete, {store}, µs", "times none")
    for ahead, name in names.items():
        ratio = None if name == alone else _ratio(measured.get(name), measured.get(alone))
        compared = (f"{ratio:.2f}", "≤ 1.5") if ratio else ("", "")
        _print_row(f"with {ahead}", measured.get(name, "not measured"), *compared, scale=1e6)


def _print_alone(name: str, title: str, measured: Mapping[str, Figures], scale: float, target: str) -> None:
    if name in measured:
        _print_head(title, "")
        _print_row("durably_wasm", measured[name], "", target, scale=scale)


def _print_head(title: str, compared: str) -> None:
    print()
    print(_cells(title, "median", "least", "most") + f"{compared:>13}  target")


def _print_row(name: str, figures: Figures, compared: str = "", target: str = "", *, scale: float = 1) -> None:
    if isinstance(figures, str):
        print(f"  {name}: {figures}")
    else:
        values = (f"{value * scale:,.0f}" if abs(value * scale) >= 10 else f"{value * scale:.1f}" for value in figures)
        print((_cells(f"  {name}", *values) + f"{compared:>13}  {target}").rstrip())


def _cells(first: str, *others: str) -> str:
    return first.ljust(_WIDTHS[0]) + "".join(text.rjust(width) for text, width in zip(others, _WIDTHS[1:], strict=True))


def _ratio(one: Figures | None, other: Figures | None) -> float | None:
    if isinstance(one, tuple) and isinstance(other, tuple) and other[0]:
        return one[0] / other[0]
    return None


def _dbos() -> str:
    try:
        return version("dbos")
    except PackageNotFoundError:
        return "not installed"
