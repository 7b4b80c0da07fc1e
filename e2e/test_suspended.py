"""A leader that is suspended, as in a closed laptop: another tab takes over where it can, or says what it waits for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

LEASE = {"leaseMs": 1000, "leaseRenewIntervalMs": 900}
ASKS = 3  # of a follower, in a lease

FOLLOWS = "durably.state === 'follower' && states.at(-1).stage === 'ready'"
COUNT_ASKS = """() => {
  window.asks = 0;
  window.channel = new BroadcastChannel('durably:test:signs');
  channel.onmessage = ({ data }) => { if (data.to === 'leader') asks += 1; };
}"""


def told_by_the_lock(leader: Page) -> None:
    """Leave the leader as it is: the browser tells its worker that the lock was stolen."""


def told_by_the_epoch(leader: Page) -> None:
    """Let the leader's worker be deaf to that: only its writes, which are refused, tell it."""

    def deafen(route: Route) -> None:
        text = route.fetch().text()
        assert "this.#onLost()" in text
        route.fulfill(body=text.replace("this.#onLost()", "undefined"), content_type="text/javascript")

    leader.route("**/worker/locks.js", deafen)


@pytest.mark.parametrize("told", [told_by_the_lock, told_by_the_epoch])
def test_a_suspended_leader_is_overtaken_and_comes_back_as_a_follower(
    told: Callable[[Page], None], browser: Browser, server: Server
) -> None:
    label = told.__name__
    gate = f"{label}/1"
    server.close_gate(gate)
    leader = browser.open(f"{server.url}/index.html")
    told(leader)
    leader.goto(test_page(server, **LEASE))
    leader.evaluate("durably.init()")
    heir, third = (follower(browser, server) for _ in range(2))
    run = third.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 3 })", label)
    server.wait_for(gate)
    for tab in (leader, third):
        tab.evaluate("(id) => { window.waited = durably.waitForRun(id); return durably.getRun(id); }", run["id"])

    suspended = browser.suspend(leader)
    server.wait_for(gate, times=2)
    for tab in (heir, third):
        tab.wait_for_function("states.at(-1).stage === 'ready' && states.at(-1).epoch === 2")
    server.open_gate(gate)
    ended = third.evaluate("waited")
    browser.wake(suspended)
    leader.wait_for_function(f"{FOLLOWS} && states.at(-1).epoch === 2")

    assert ended["output"] == {"total": 5}
    assert leader.evaluate("waited") == ended
    assert ended["leaseGeneration"] == 2
    assert server.journal(label) == {f"{label}/0": 1, gate: 2, f"{label}/2": 1}
    assert leader.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    assert not leader.evaluate("states.some(({ state, error }) => state === 'failed' || error)")
    assert {tab.evaluate("durably.state") for tab in (heir, third)} == {"leader", "follower"}
    assert {tab.evaluate("states.at(-1).epoch") for tab in (leader, heir, third)} == {2}


def test_on_sqlite_a_suspended_leader_is_waited_for(browser: Browser, server: Server) -> None:
    server.close_gate("waited/1")
    leader = browser.open(test_page(server, store="sqlite", **LEASE))
    leader.evaluate("durably.init()")
    heir = follower(browser, server, store="sqlite")
    run = leader.evaluate("durably.jobs.count.trigger({ label: 'waited', steps: 2 })")
    server.wait_for("waited/1")

    suspended = browser.suspend(leader)
    heir.wait_for_function("states.at(-1).notice?.name === 'LeaderSuspended'")
    heir.evaluate(COUNT_ASKS)
    heir.wait_for_function("(count) => asks >= count", arg=3 * ASKS)
    assert heir.evaluate("[durably.state, states.at(-1).epoch]") == ["follower", 1]
    browser.wake(suspended)
    heir.wait_for_function("states.at(-1).notice === null")
    server.open_gate("waited/1")

    ended = heir.evaluate("(id) => durably.waitForRun(id)", run["id"])
    assert (ended["output"], ended["leaseGeneration"]) == ({"total": 1}, 1)
    assert server.journal("waited") == {"waited/0": 1, "waited/1": 1}
    assert [tab.evaluate("[durably.state, states.at(-1).epoch]") for tab in (leader, heir)] == [
        ["leader", 1],
        ["follower", 1],
    ]


def test_a_leader_whose_worker_is_busy_keeps_everything(browser: Browser, server: Server) -> None:
    leader = browser.open(test_page(server, **LEASE))
    leader.evaluate("durably.init()")
    heir = follower(browser, server)
    heir.evaluate(COUNT_ASKS)
    server.close_gate("busy")

    hold_worker(leader, "busy")
    heir.wait_for_function("(count) => asks >= count", arg=3 * ASKS)
    server.open_gate("busy")

    assert heir.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    assert [tab.evaluate("[durably.state, states.at(-1).epoch]") for tab in (leader, heir)] == [
        ["leader", 1],
        ["follower", 1],
    ]
    assert heir.evaluate("states.every(({ notice }) => notice === null)")


def test_what_a_leader_of_an_earlier_epoch_says_is_not_heard(browser: Browser, server: Server) -> None:
    leader = browser.open(test_page(server))
    leader.evaluate("durably.init()")
    tab = follower(browser, server)
    tab.evaluate(
        """() => {
          const channel = new BroadcastChannel('durably:test');
          const late = (from, to, message) => channel.postMessage({ from, to, message: { ...message, epoch: 0 } });
          channel.onmessage = ({ data: { from, message } }) => {
            if (message.type === 'event') window.leader ??= from;
            if (message.method !== 'trigger') return;
            late(leader, 'all', { type: 'event', event: { type: 'run:fail', runId: 'late', sequence: 0 } });
            late('earlier', 'all', { ...states.at(-1), state: 'leader', stage: 'jobs' });
            late('earlier', from, { type: 'reply', id: message.id, error: { name: 'StoreError', message: 'late' } });
            window.isSaid = true;
          };
        }"""
    )
    leader.evaluate("durably.jobs.anything.triggerAndWait(1)")
    tab.wait_for_function("window.leader")
    server.close_gate("held")
    hold_worker(leader, "held")

    triggered = tab.evaluate_handle("({ answer: durably.jobs.anything.triggerAndWait(2) })")
    tab.wait_for_function("window.isSaid")
    server.open_gate("held")

    assert triggered.evaluate("({ answer }) => answer.then(({ output }) => output)") == 2
    assert not tab.evaluate("events.some(({ runId }) => runId === 'late')")
    assert not tab.evaluate("states.some(({ stage }) => stage === 'jobs')")


def follower(browser: Browser, server: Server, **options: object) -> Page:
    page = browser.open(test_page(server, **LEASE, **options))
    page.wait_for_function(FOLLOWS)
    return page


def hold_worker(page: Page, gate: str) -> None:
    """Keep a page's worker busy until the gate is opened, as Python does that computes."""
    page.workers[0].evaluate(
        """(gate) => void setTimeout(() => {
          const request = new XMLHttpRequest();
          request.open('GET', `/gate/${gate}`, false);
          request.send();
        })""",
        gate,
    )
