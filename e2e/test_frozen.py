"""Tabs that the browser freezes: one that others wait for lets them go on, a lone one goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import test_page
from e2e.devtools import DevTools, Tab
from e2e.server import Server

FOLLOWS = "durably.state === 'follower' && states.at(-1).stage === 'ready'"
NOTE_FREEZING = "void document.addEventListener('freeze', () => { window.wasFrozen = true; })"

# The page that leads watches who waits, by waiting for the end of that worker's lock.
IS_AWAITED = """navigator.locks.query().then(({ pending }) =>
  pending.filter(({ name }) => name.startsWith('durably:test:tab:')).length === %d)"""


@pytest.fixture
def browser(profile: Path) -> Iterator[DevTools]:
    browser = DevTools(profile)
    yield browser
    browser.kill()
    assert browser.troubles == []


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_a_leader_that_is_awaited_gives_up_and_comes_back_as_a_follower(
    store: str, browser: DevTools, server: Server
) -> None:
    label = f"frozen-{store}"
    gate = f"{label}/1"
    server.close_gate(gate)
    leader = ready(browser, server, store=store)
    heir = ready(browser, server, store=store)
    heir.wait_for(IS_AWAITED % 1)
    run = leader.evaluate(f"durably.jobs.count.trigger({{ label: '{label}', steps: 3 }})")
    server.wait_for(gate)
    wait(leader, run["id"])

    leader.freeze()
    server.wait_for(gate, times=2)
    heir.wait_for("durably.state === 'leader'")
    server.open_gate(gate)
    ended = heir.evaluate(f"durably.waitForRun('{run['id']}')")
    leader.resume()
    leader.wait_for(f"{FOLLOWS} && states.at(-1).epoch === 2")

    assert leader.evaluate("wasFrozen")
    assert (ended["output"], ended["leaseGeneration"]) == ({"total": 5}, 2)
    assert leader.evaluate("waited") == ended
    assert server.journal(label) == {f"{label}/0": 1, gate: 2, f"{label}/2": 1}
    assert heir.evaluate("states.every(({ notice }) => notice === null)")  # it was not waited for in vain
    assert leader.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7


def test_a_lone_leader_goes_on_where_it_was(browser: DevTools, server: Server) -> None:
    server.close_gate("lone-frozen/1")
    leader = ready(browser, server, leaseMs=50, leaseRenewIntervalMs=40)
    gone = ready(browser, server)
    leader.wait_for(IS_AWAITED % 1)
    gone.close()
    leader.wait_for(IS_AWAITED % 0)
    run = leader.evaluate("durably.jobs.count.trigger({ label: 'lone-frozen', steps: 3 })")
    server.wait_for("lone-frozen/1")

    leader.freeze()
    server.open_gate("lone-frozen/1")
    leader.resume()

    ended = leader.evaluate(f"durably.waitForRun('{run['id']}')")
    assert leader.evaluate("wasFrozen")
    assert (ended["output"], ended["leaseGeneration"]) == ({"total": 5}, 1)
    assert server.journal("lone-frozen") == {f"lone-frozen/{number}": 1 for number in range(3)}
    assert leader.evaluate("[durably.state, states.at(-1).epoch, workers.length]") == ["leader", 1, 1]


def test_a_frozen_follower_is_not_chosen(browser: DevTools, server: Server) -> None:
    leader, frozen, heir = (ready(browser, server) for _ in range(3))
    frozen.freeze()

    leader.close()
    heir.wait_for("durably.state === 'leader' && states.at(-1).stage === 'ready'")
    frozen.resume()
    frozen.wait_for(f"{FOLLOWS} && states.at(-1).epoch === 2")

    assert frozen.evaluate("wasFrozen")
    assert heir.evaluate("states.every(({ notice }) => notice === null)")  # nobody was waited for
    assert frozen.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7


def ready(browser: DevTools, server: Server, **options: object) -> Tab:
    tab = browser.open(test_page(server, **options))
    tab.evaluate("durably.init()")
    tab.evaluate(NOTE_FREEZING)
    tab.wait_for("durably.state === 'leader' || " + FOLLOWS)
    return tab


def wait(tab: Tab, run_id: str) -> None:
    """Begin to wait for a run in the page, as `waited`, and see that it does."""
    tab.evaluate(f"(window.waited = durably.waitForRun('{run_id}'), durably.getRun('{run_id}'))")
