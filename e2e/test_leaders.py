"""Leaders that go, again and again, at named points: no trigger is lost, none is applied twice, no step runs again.

`pytest e2e/test_leaders.py --rounds 50 --seed 7` loses as many leaders as one likes, in an order that can be had again.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest

from e2e.engines import Tab, Tabbed
from e2e.server import Server
from e2e.test_kills import ran_again_after_it_was_seen

# Where a leader goes, in the words of e2e/site/points*.js, and at most how many passes of the point are let go before.
POINTS = {
    "write": 8,  # a record or a transaction is written, and nobody knows yet whether it is committed
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
class Tabs:
    """Three tabs, each of which stops at a point of its own when it leads, and the runs that they were told to do.

    A tab has the name by which it says that it has reached its point.
    """

    browser: Tabbed
    server: Server
    store: str
    chance: random.Random
    tabs: dict[str, Tab] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    opened: int = 0

    @property
    def kind(self) -> str:
        """What these tabs are of, for names that are unlike those of other tabs."""
        return f"leaders-{self.browser.name}-{self.store}"

    def open(self, tab: Tab | None = None) -> None:
        """Open a tab, or another document in a tab, and see its outbox open."""
        name = f"{self.kind}-{self.opened}"
        self.opened += 1
        point = self.chance.choice(sorted(POINTS))
        after = self.chance.randrange(POINTS[point] + 1)
        print(f"{name} stops at {point}, after {after}")
        self.server.close_gate(f"kill/{name}")
        self._open(name, tab or self.browser.new_tab(), round=name, point=point, after=after)

    def trigger(self, number: int) -> None:
        """Trigger runs from tabs of chance, and await nothing."""
        for run in range(RUNS):
            label = f"{self.kind}-{number}-{run}"
            name = self.chance.choice([*self.tabs])
            print(f"{label} is triggered in {name}")
            self.tabs[name].evaluate(f"void durably.jobs.count.trigger({json.dumps({'label': label, 'steps': STEPS})})")
            self.labels.append(label)

    def lose_leader(self) -> None:
        """Wait until the leader has reached its point, and lose it in a way of chance."""
        name = self._stopped()
        leader = self.tabs.pop(name)
        way = self.chance.choice(["close", "leave", "terminate"])
        print(f"{name} is lost: {way}")
        if way == "close":
            leader.close()
            self.open()
        elif way == "leave":
            self.open(leader)
        else:
            leader.evaluate("workers[0].terminate()")
            self.open()
            leader.close()

    def finish(self) -> list[dict[str, object]]:
        """Open a tab that stops nowhere, close all others, let all runs end, and return them with their steps."""
        others, self.tabs = self.tabs, {}
        self._open("last", self.browser.new_tab())
        for tab in others.values():
            tab.close()
        [last] = self.tabs.values()
        last.evaluate("durably.init().then(() => null)")
        ended = last.evaluate(
            """durably.getRuns().then((runs) => Promise.all(runs.map(async ({ id }) => ({
              ...(await durably.waitForRun(id)), steps: await durably.storage.getSteps(id),
            }))))"""
        )
        assert isinstance(ended, list)
        return ended

    def _open(self, name: str, tab: Tab, **points: object) -> None:
        tab.open(f"{self.server.url}/kills.html?{urlencode({'store': self.store, **points})}")
        tab.evaluate("durably.rejectedCalls()")
        self.tabs[name] = tab

    def _stopped(self) -> str:
        name_of = {f"reached/{name}": name for name in self.tabs}
        return name_of[self.server.wait_for_any([*name_of])]


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_nothing_is_lost_and_nothing_done_twice(
    store: str, tabbed: Tabbed, server: Server, pytestconfig: pytest.Config
) -> None:
    rounds, seed = pytestconfig.getoption("rounds"), pytestconfig.getoption("seed")
    print(f"seed {seed}")
    tabs = Tabs(tabbed, server, store, random.Random(f"{seed} {tabbed.name} {store}"))
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
