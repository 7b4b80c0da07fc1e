"""Many tabs on one database: how fast another goes on when the leader's is closed, and what twenty of them cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from playwright.sync_api import Page

from e2e.bench.measuring import Measurement
from e2e.bench.session import Session, evaluate

TABS = 20
RUNS = 50  # of one step each: their events are what is timed
TAKEOVERS = 3

FOLLOWING = "() => durably.init().then(() => { if (durably.state !== 'follower') throw new Error(durably.state); })"
LISTEN = """() => {
    window.delays = [];
    durably.on('step:start', ({ timestamp }) => delays.push(Date.now() - Date.parse(timestamp)));
}"""


def measurements(stores: Sequence[str]) -> list[Measurement]:
    """Return the measurements of each store, and those of many tabs, which are the same on any."""
    return [
        *(Measurement("takeover_ms", store, partial(_take_over, store)) for store in stores),
        Measurement("tab_mb", "indexeddb", _open_many, once=True),
    ]


def _take_over(store: str, session: Session) -> Mapping[str, list[float]]:
    return {store: [_close_leader(store, session) for _ in range(TAKEOVERS)]}


def _close_leader(store: str, session: Session) -> float:
    """Close the leader while its run is held in a step; return when that step starts in another tab."""
    database = session.new_name()
    leader = session.open_engine(store, database)
    run_id = evaluate(leader, "() => measures.hold(3)")
    follower = session.open_engine(store, database)  # which hears nothing before it leads: the run waits
    evaluate(follower, FOLLOWING)
    start = evaluate(follower, "() => performance.now()")
    leader.close()
    times = evaluate(follower, "(id) => measures.resumed(id)", run_id)
    follower.close()
    return float(times["started"] - start)


def _open_many(session: Session) -> Mapping[str, list[float]]:
    """Open twenty tabs and let the first work; a further tab's memory is its share of what the browser grew by."""
    database = session.new_name()
    tabs = [session.open_engine("indexeddb", database)]
    before = session.memory()
    tabs += [session.open_engine("indexeddb", database) for _ in range(TABS - 1)]
    for tab in tabs:
        evaluate(tab, LISTEN)
    grown = session.memory() - before
    evaluate(tabs[0], f"() => measures.shortRunsPerSecond({RUNS})")
    delays = [_delays(tab) for tab in tabs]
    for tab in tabs:
        tab.close()
    return {
        "indexeddb": [grown / (TABS - 1) / 1_000_000],
        f"indexeddb, an event's delay in the first of {TABS} tabs, ms": delays[0],
        "indexeddb, an event's delay in the others, ms": [delay for others in delays[1:] for delay in others],
    }


def _delays(tab: Page) -> list[float]:
    """Wait until a tab has heard of every run, and return how many milliseconds each event took."""
    heard: list[float] = evaluate(
        tab,
        f"""async () => {{
            while (delays.length < {RUNS}) await new Promise((resolve) => setTimeout(resolve, 10));
            return delays;
        }}""",
    )
    return heard
