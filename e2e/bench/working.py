"""Measurements of an engine at work, by the functions of `site/measures.js` in its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from e2e.bench.measuring import Measurement
from e2e.bench.session import UPSTREAM, Session, evaluate

STEPS, UPSTREAM_STEPS = 1_000, 100
TRIGGERS, UPSTREAM_TRIGGERS = 500, 50
BATCH = 500
BACKLOG, UPSTREAM_COUNTED = 700, 20
IDLE, UPSTREAM_IDLE = 50, 10
LARGE = 1_000_000


@dataclass(frozen=True, slots=True)
class Work:
    """A call of the page's `measures`, with less of it for upstream, which would take minutes.

    What `leaves_runs` behind takes its page and database with it.
    """

    key: str
    ours: str
    upstreams: str
    variant: str = ""
    leaves_runs: bool = False


WORKS = [
    Work("steps_per_s", f"stepsPerSecond({STEPS})", f"stepsPerSecond({UPSTREAM_STEPS})"),
    Work(
        "steps_per_s",
        f"stepsPerSecond({STEPS}, {LARGE})",
        f"stepsPerSecond({UPSTREAM_STEPS}, {LARGE})",
        variant="_1mb_input",
    ),
    Work("trigger_to_complete_ms", f"triggerToComplete({IDLE})", f"triggerToComplete({UPSTREAM_IDLE})"),
    Work(
        "triggers_per_s", f"triggersPerSecond({TRIGGERS})", f"triggersPerSecond({UPSTREAM_TRIGGERS})", leaves_runs=True
    ),
    Work("batch_runs_per_s", f"batchRunsPerSecond({BATCH})", f"batchRunsPerSecond({BATCH})", leaves_runs=True),
    Work(
        "short_runs_per_s",
        f"shortRunsPerSecond({BACKLOG})",
        f"shortRunsPerSecond({BACKLOG}, {{ counted: {UPSTREAM_COUNTED} }})",
        leaves_runs=True,
    ),
]


def measurements(stores: Sequence[str]) -> list[Measurement]:
    """Return the measurements of our engine on these stores and of upstream, in turns."""
    return [
        Measurement(work.key, f"{engine}{work.variant}", partial(_take, work, engine))
        for work in WORKS
        for engine in (*stores, UPSTREAM)
    ]


def _take(work: Work, engine: str, session: Session) -> Mapping[str, list[float]]:
    page = session.engine(engine)
    try:
        figures = evaluate(page, f"() => measures.{work.upstreams if engine == UPSTREAM else work.ours}")
    finally:
        if work.leaves_runs:
            session.discard(engine)
    return {f"{engine}{work.variant}": figures if isinstance(figures, list) else [figures]}
