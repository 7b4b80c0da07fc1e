"""A run that is interrupted goes on at its first unfinished step, in each browser engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.conftest import test_page, unless_here
from e2e.engines import STORES, Engine, WebKit
from e2e.server import Server

STEPS = 5
INTERRUPTED = 2
TOTAL = sum(number * number for number in range(STEPS))

Start = Callable[[], Engine]


def by_reload(browser: Engine, start: Start) -> Engine:
    return browser


def by_killing_the_browser(browser: Engine, start: Start) -> Engine:
    browser.kill()
    return start()


INTERRUPTIONS = [
    pytest.param(engine, store, interrupt, id=f"{engine.name}-{store}-{interrupt.__name__}", marks=unless_here(engine))
    for engine, stores in STORES.items()
    for store in stores
    for interrupt in (by_reload, by_killing_the_browser)
    if interrupt is by_reload or engine.keeps_profile
]


@pytest.fixture
def start_again(engine: type[Engine], start: Callable[[type[Engine], Path], Engine], tmp_path: Path) -> Iterator[Start]:
    """Start the engine of this test, each time on the same profile."""
    started: list[Engine] = []

    def start_again() -> Engine:
        started.append(start(engine, tmp_path / "profile"))
        return started[-1]

    yield start_again
    for browser in started:
        browser.kill()
    assert [trouble for browser in started for trouble in browser.troubles] == []


@pytest.mark.parametrize(("engine", "store", "interrupt"), INTERRUPTIONS)
def test_goes_on_at_the_first_unfinished_step(
    engine: type[Engine],
    store: str,
    interrupt: Callable[[Engine, Start], Engine],
    start_again: Start,
    server: Server,
) -> None:
    label = f"{engine.name}-{store}-{interrupt.__name__}"
    gate = f"{label}/{INTERRUPTED}"
    url = test_page(server, store=store)
    server.close_gate(gate)
    browser = start_again()
    browser.open(url)
    run = browser.evaluate(f"durably.jobs.count.trigger({json.dumps({'label': label, 'steps': STEPS})})")
    assert isinstance(run, dict)
    server.wait_for(gate)

    browser = interrupt(browser, start_again)
    browser.open(url)
    server.wait_for(gate, times=2)
    server.open_gate(gate)
    ended = browser.evaluate(f"durably.waitForRun({json.dumps(run['id'])})")

    assert isinstance(ended, dict)
    assert ended["output"] == {"total": TOTAL}
    assert ended["leaseGeneration"] == 2
    assert server.journal(label) == {f"{label}/{n}": 2 if n == INTERRUPTED else 1 for n in range(STEPS)}


@pytest.mark.parametrize("engine", [pytest.param(WebKit, marks=unless_here(WebKit))])
def test_sqlite_stands_back_where_a_browser_does_not_offer_its_files(start_again: Start, server: Server) -> None:
    browser = start_again()
    browser.open(test_page(server, store="sqlite"))

    output = browser.evaluate("durably.jobs.anything.triggerAndWait([1]).then(({ output }) => output)")
    state = browser.evaluate("states.at(-1)")

    assert output == [1]
    assert isinstance(state, dict)
    assert (state["store"]["kind"], state["notice"]["name"]) == ("indexeddb", "StoreFallback")
