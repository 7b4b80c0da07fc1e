"""Leaders that go, again and again, at named points: no trigger is lost, none is applied twice, no step runs again.

`pytest e2e/test_leaders.py --rounds 50 --seed 7` loses as many leaders as one likes, in an order that can be had again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.server import Server
from e2e.test_kills import ran_again_after_it_was_seen

# Where a leader goes, in the words of e2e/site/points*.js, and at most how many passes of the point are let go before.
POINTS = {
    "write": 20,  # a record or a page of the file is written, its transaction not committed
    "claimed": 1,  # a claim is committed, its event not sent
    "working": 2,  # in the middle of a step
    "checkpointed": 2,  # a step is committed, its event not sent
    "completed": 1,  # a run's end is committed, its event not sent
    "replying": 1,  # a trigger is committed, its reply not sent
}
TABS = 3
RUNS = 2  # new ones each round
STEPS = 3
OUTPUT = {"total": sum(number * number for number in range(STEPS))}

pytestmark = pytest.mark.timeout(0)  # every wait below has a limit of its own


@dataclass
class Tab:
    """A tab under the name by which it says that it has reached its point."""

    name: str
    page: Page


@dataclass
class Tabs:
    """Three tabs, each of which stops at a point of its own when it leads, and the runs that they were told to do."""

    browser: Browser
    server: Server
    store: str
    chance: random.Random
    tabs: list[Tab] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    opened: int = 0

    def open(self, page: Page | None = None) -> None:
        """Open a tab, or another document in a tab, and see its outbox open."""
        name = f"leaders-{self.store}-{self.opened}"
        self.opened += 1
        point = self.chance.choice(sorted(POINTS))
        after = self.chance.randrange(POINTS[point] + 1)
        print(f"{name} stops at {point}, after {after}")
        self.server.close_gate(f"kill/{name}")
        self._open(name, page, round=name, point=point, after=after)

    def trigger(self, number: int) -> None:
        """Trigger runs from tabs of chance, and await nothing."""
        for run in range(RUNS):
            label = f"leaders-{self.store}-{number}-{run}"
            tab = self.chance.choice(self.tabs)
            print(f"{label} is triggered in {tab.name}")
            tab.page.evaluate("(input) => void durably.jobs.count.trigger(input)", {"label": label, "steps": STEPS})
            self.labels.append(label)

    def lose_leader(self) -> None:
        """Wait until the leader has reached its point, and lose it in a way of chance."""
        leader = self._stopped()
        self.tabs.remove(leader)
        way = self.chance.choice(["close", "leave", "terminate"])
        print(f"{leader.name} is lost: {way}")
        if way == "close":
            leader.page.close()
            self.open()
        elif way == "leave":
            self.open(leader.page)
        else:
            leader.page.evaluate("workers[0].terminate()")
            self.open()
            leader.page.close()

    def finish(self) -> list[dict[str, object]]:
        """Open a tab that stops nowhere, close all others, let all runs end, and return them with their steps."""
        others, self.tabs = self.tabs, []
        self._open("last")
        for tab in others:
            tab.page.close()
        [last] = self.tabs
        last.page.evaluate("durably.init()")
        ended = last.page.evaluate(
            """durably.getRuns().then((runs) => Promise.all(runs.map(async ({ id }) => ({
              ...(await durably.waitForRun(id)), steps: await durably.storage.getSteps(id),
            }))))"""
        )
        assert isinstance(ended, list)
        return ended

    def _open(self, name: str, page: Page | None = None, **points: object) -> None:
        url = f"{self.server.url}/kills.html?{urlencode({'store': self.store, **points})}"
        if page is None:
            page = self.browser.open(url)
        else:
            page.goto(url)
        page.evaluate("durably.rejectedCalls()")
        self.tabs.append(Tab(name, page))

    def _stopped(self) -> Tab:
        tab_of = {f"reached/{tab.name}": tab for tab in self.tabs}
        return tab_of[self.server.wait_for_any([*tab_of])]


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_nothing_is_lost_and_nothing_done_twice(
    store: str, browser: Browser, server: Server, pytestconfig: pytest.Config
) -> None:
    rounds, seed = pytestconfig.getoption("rounds"), pytestconfig.getoption("seed")
    print(f"seed {seed}")
    tabs = Tabs(browser, server, store, random.Random(f"{seed} {store}"))
    for _ in range(TABS):
        tabs.open()
    for number in range(rounds):
        tabs.trigger(number)
        tabs.lose_leader()

    runs = tabs.finish()

    label_of = {run["id"]: run["input"]["label"] for run in runs}
    assert sorted(label_of.values()) == sorted(tabs.labels)
    assert [run for run in runs if run["status"] != "completed" or run["output"] != OUTPUT] == []
    assert [run for run in runs if [step["name"] for step in run["steps"]] != [f"step-{n}" for n in range(STEPS)]] == []
    assert ran_again_after_it_was_seen(server.entries(""), label_of) == []
