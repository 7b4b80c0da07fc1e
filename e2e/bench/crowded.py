"""What claiming and completing a run costs when the store holds 100,000 ended runs, beside an empty store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from e2e.bench.measuring import Measurement
from e2e.bench.session import Session, evaluate

ENDED = 100_000
WINDOWS, IN_WINDOW = 5, 200


def measurements(stores: Sequence[str]) -> list[Measurement]:
    """Return the measurement of each store; it fills one database and leaves another empty."""
    return [Measurement("claim_ms_at_100k", store, partial(_take, store), once=True) for store in stores]


def _take(store: str, session: Session) -> Mapping[str, list[float]]:
    crowded = session.new_name()
    _fill(store, crowded, session)
    pages = {
        store: session.open_engine(store, crowded),
        f"{store}_empty": session.open_engine(store, session.new_name()),
    }
    figures: dict[str, list[float]] = {of: [] for of in pages}
    for window in range(WINDOWS + 1):
        for of, page in pages.items():
            page.bring_to_front()
            rate = evaluate(page, f"() => measures.shortRunsPerSecond({IN_WINDOW}, {{ steps: 0 }})")
            if window > 0:  # the first one warms up
                figures[of].append(1_000 / rate)
    for page in pages.values():
        page.close()
    return figures


def _fill(store: str, database: str, session: Session) -> None:
    if store != "indexeddb":
        raise RuntimeError(f"there is no quick way yet to fill a database of the store {store!r}")
    page = session.open_bare()
    evaluate(page, "([name, count]) => fillIndexedDb(name, count)", [database, ENDED])
    page.close()
