"""Measurements of what takes a boot of Python, or does without: a reload in the middle of a run, a busy run's end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from playwright.sync_api import Page

from e2e.bench.measuring import Measurement
from e2e.bench.session import UPSTREAM, Session, evaluate

RELOADS = 4
REPLAYED, UPSTREAM_REPLAYED = 1_000, 100
UPSTREAM_LEASE = {"leaseMs": 3_000, "leaseRenewIntervalMs": 500}
BOOTS = 3
LISTED, LISTS = 20, 3


def measurements(stores: Sequence[str]) -> list[Measurement]:
    """Return the measurements; of upstream, whose reload waits for the lease to expire, once."""
    return [
        *(Measurement("reload_to_next_step_ms", store, partial(_reload, store)) for store in stores),
        Measurement("reload_to_next_step_ms", UPSTREAM, _reload_upstream, once=True),
        *(Measurement("replay_1000_ms", store, partial(_replay, store)) for store in stores),
        Measurement("replay_1000_ms", UPSTREAM, _replay_upstream, once=True),
        *(Measurement("hard_cancel_ms", store, partial(_cancel_busy, store)) for store in stores),
        *(Measurement("list_on_screen_ms", store, partial(_list, store)) for store in stores if store == "indexeddb"),
        Measurement("boot_ms", "plain", _boot_plainly),
        *(Measurement("boot_ms", store, partial(_boot, store)) for store in stores),
    ]


def _reload(store: str, session: Session) -> Mapping[str, list[float]]:
    page = session.open_engine(store, session.new_name())
    figures = [_interrupt(page, 3)["started"] for _ in range(RELOADS)]
    page.close()
    return {store: figures}


def _reload_upstream(session: Session) -> Mapping[str, list[float]]:
    page = session.open_engine(UPSTREAM, session.new_name())
    figure = _interrupt(page, 3)["started"]
    page.close()
    return {UPSTREAM: [figure]}


def _replay(store: str, session: Session) -> Mapping[str, list[float]]:
    page = session.open_engine(store, session.new_name())
    times = _interrupt(page, REPLAYED)
    page.close()
    return {store: [times["started"] - times["leased"]]}


def _replay_upstream(session: Session) -> Mapping[str, list[float]]:
    """Replay fewer steps, under a short lease, and scale the time up."""
    page = session.open_engine(UPSTREAM, session.new_name(), **UPSTREAM_LEASE)
    times = _interrupt(page, UPSTREAM_REPLAYED)
    page.close()
    return {UPSTREAM: [(times["started"] - times["leased"]) * REPLAYED / UPSTREAM_REPLAYED]}


def _interrupt(page: Page, steps: int) -> dict[str, float]:
    """Reload the page while a run is held after its steps; return when it was leased and at its next step again."""
    run_id = evaluate(page, "(steps) => measures.hold(steps)", steps)
    page.reload()
    times: dict[str, float] = evaluate(page, "(id) => measures.resumed(id)", run_id)
    return times


def _cancel_busy(store: str, session: Session) -> Mapping[str, list[float]]:
    page = session.open_engine(store, session.new_name())
    figure = evaluate(page, "() => measures.hardCancel()")
    page.close()
    return {store: [figure]}


def _list(store: str, session: Session) -> Mapping[str, list[float]]:
    """Let runs complete, and open pages that show them."""
    database = session.new_name()
    page = session.open_engine(store, database)
    evaluate(page, f"() => measures.shortRunsPerSecond({LISTED})")
    page.close()
    figures = []
    for _ in range(LISTS):
        page = session.open_engine(store, database, listed=LISTED)
        figures.append(evaluate(page, "() => shown"))
        page.close()
    return {store: figures}


def _boot(store: str, session: Session) -> Mapping[str, list[float]]:
    """Open pages on an existing database, and read at which time each stage began and what the worker measured."""
    database = session.new_name()
    session.open_engine(store, database).close()
    figures: dict[str, list[float]] = {}
    for _ in range(BOOTS):
        page = session.open_engine(store, database)
        stages: dict[str, float] = evaluate(page, "() => stages")
        figures.setdefault(store, []).append(stages.pop("ready"))
        for stage, at in stages.items():
            figures.setdefault(f"{store}, stage {stage} begins at", []).append(at)
        for name, duration in _measures(page):
            figures.setdefault(f"{store}, worker's {name}", []).append(duration)
        page.close()
    return figures


def _measures(page: Page) -> list[tuple[str, float]]:
    [worker] = page.workers
    entries = worker.evaluate("performance.getEntriesByType('measure').map(({ name, duration }) => [name, duration])")
    return [(name, duration) for name, duration in entries]


def _boot_plainly(session: Session) -> Mapping[str, list[float]]:
    page = session.open_raw()
    figures: dict[str, list[float]] = {}
    for _ in range(BOOTS):
        parts: dict[str, float] = evaluate(page, "() => inWorker('./plain-pyodide.js')")
        figures.setdefault("plain", []).append(sum(parts.values()))
        for part, duration in parts.items():
            figures.setdefault(f"plain, {part}", []).append(duration)
    page.close()
    return figures
