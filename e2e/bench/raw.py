"""What the storage does without any engine: the step transaction, straight from JavaScript, in a worker of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from e2e.bench.measuring import Measurement
from e2e.bench.session import Session, evaluate

STEPS = 1_000


def measurements(stores: Sequence[str]) -> list[Measurement]:
    """Return the measurement of each store's raw commit rate."""
    return [Measurement("steps_per_s", f"raw_{store}", partial(_take, store)) for store in stores]


def _take(store: str, session: Session) -> Mapping[str, list[float]]:
    page = session.open_raw()
    params = {"database": session.new_name(), "steps": STEPS}
    try:
        figure = evaluate(page, "([script, params]) => inWorker(script, params)", [f"./raw-{store}.js", params])
    finally:
        page.close()
    return {f"raw_{store}": [figure]}
