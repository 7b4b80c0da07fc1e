"""SIGKILL of the whole browser at named points, again and again on one profile: what was checkpointed stays so.

`pytest e2e/test_kills.py --kills 100 --seed 7` kills as often as one likes, in an order that can be had again.

Chromium's IndexedDB does not survive every kill: now and then it finds its files damaged, deletes them, and says so.
What was there is not asked for any more then, as long as the page was told.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from e2e.engines import Chromium, Engine
from e2e.server import Server

# Where a browser dies, in the words of e2e/site/points*.js, and at most how many passes of the point are let go before.
POINTS = {
    "write": 20,  # a record or a page of the file is written, its transaction not committed
    "claimed": 2,  # a claim is committed, its event not sent
    "working": 3,  # in the middle of a step
    "checkpointed": 3,  # a step is committed, its event not sent
    "told": 3,  # the page has seen a step's event
    "completed": 1,  # a run's end is committed, its event not sent
    "replying": 1,  # a trigger is committed, its reply not sent
    "triggered": 1,  # the page has a trigger's reply
}
STORES = ["indexeddb", "sqlite"]
RUNS = 2  # new ones each round
STEPS = 3
OUTPUT = {"total": sum(number * number for number in range(STEPS))}

pytestmark = pytest.mark.timeout(0)  # every wait below has a limit of its own


@dataclass
class Killing:
    """One profile, a browser on it at a time, and the runs that it has been told to do."""

    start: Callable[[], Engine]
    server: Server
    store: str
    labels: list[str] = field(default_factory=list)

    def kill_at(self, number: int, point: str, after: int) -> None:
        """Start a browser, give it runs, and kill it at a point."""
        name = f"{self.store}-{number}"
        self.server.close_gate(f"kill/{name}")
        browser = self._open(round=name, point=point, after=after)
        self.labels += [f"{name}-{run}" for run in range(RUNS)]
        try:
            browser.evaluate(f"void {json.dumps(self._unconfirmed())}.forEach(trigger)")
            try:
                self.server.wait_for(f"reached/{name}")
            except TimeoutError as error:
                error.add_note(f"The page was told: {browser.evaluate('states')}")
                raise
        finally:
            browser.kill()
            self.server.open_gate(f"kill/{name}")
        assert browser.troubles == []

    def finish(self) -> list[dict[str, object]]:
        """Let all runs end, and return them with their steps."""
        browser = self._open(round="last")
        try:
            browser.evaluate(f"Promise.all({json.dumps(self._unconfirmed())}.map(trigger))")
            ended = browser.evaluate(
                """durably.getRuns().then((runs) => Promise.all(runs.map(async ({ id }) => ({
                  ...(await durably.waitForRun(id)), steps: await durably.storage.getSteps(id),
                }))))"""
            )
        finally:
            browser.kill()
        assert browser.troubles == []
        assert isinstance(ended, list)
        return ended

    def _open(self, **points: object) -> Engine:
        browser = self.start()
        browser.open(f"{self.server.url}/kills.html?{urlencode({'store': self.store, **points})}")
        notice = browser.evaluate("durably.rejectedCalls().then(() => states.at(-1)?.notice ?? null)")
        if isinstance(notice, dict) and notice["name"] == "StoreLost" and self.store == "indexeddb":
            print(f"the browser has deleted all runs: {notice['message']}")
            self.labels.clear()
        return browser

    def _unconfirmed(self) -> list[dict[str, object]]:
        """The inputs of the runs whose trigger was not answered before the browser died."""
        confirmed = {entry.split("/")[1] for entry in self.server.entries("triggered/")}
        return [{"label": label, "steps": STEPS} for label in self.labels if label not in confirmed]


@pytest.fixture
def killing(
    store: str, start: Callable[[type[Engine], Path], Engine], server: Server, tmp_path: Path
) -> Iterator[Killing]:
    yield Killing(lambda: start(Chromium, tmp_path / "profile"), server, store)


@pytest.mark.parametrize("store", STORES)
def test_what_was_checkpointed_survives_kills(store: str, killing: Killing, pytestconfig: pytest.Config) -> None:
    kills, seed = pytestconfig.getoption("kills"), pytestconfig.getoption("seed")
    chance = random.Random(seed)
    for number, point in enumerate(in_some_order(chance, kills)):
        after = chance.randrange(POINTS[point] + 1)
        print(f"seed {seed}, kill {number} on {store}: {point}, after {after}")
        killing.kill_at(number, point, after)

    runs = killing.finish()

    label_of = {run["id"]: run["input"]["label"] for run in runs}
    assert sorted(label_of.values()) == sorted(killing.labels)
    assert [run for run in runs if run["status"] != "completed" or run["output"] != OUTPUT] == []
    assert [run for run in runs if [step["name"] for step in run["steps"]] != [f"step-{n}" for n in range(STEPS)]] == []
    assert ran_again_after_it_was_seen(killing.server.entries(""), label_of) == []


def in_some_order(chance: random.Random, kills: int) -> list[str]:
    """Return that many points: each of them once in an order of chance, and so on."""
    order: list[str] = []
    while len(order) < kills:
        order += chance.sample(sorted(POINTS), len(POINTS))
    return order[:kills]


def ran_again_after_it_was_seen(entries: list[str], label_of: dict[str, str]) -> list[str]:
    """Return the steps that the journal has running after the page had seen them complete."""
    seen: set[str] = set()
    again = []
    for entry in entries:
        kind, *rest = entry.split("/")
        if kind == "seen" and rest[0] in label_of:
            seen.add(f"{label_of[rest[0]]}/{rest[1].removeprefix('step-')}")
        elif entry in seen:
            again.append(entry)
    return again
