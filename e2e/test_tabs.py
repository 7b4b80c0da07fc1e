"""Many tabs, one engine: every tab has the whole API, and when the leader goes another tab goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

STEPS = 4
INTERRUPTED = 2
TOTAL = sum(number * number for number in range(STEPS))

FOLLOW = "durably.state === 'follower' && states.at(-1).stage === 'ready'"


@pytest.fixture
def tabs(browser: Browser, server: Server) -> tuple[Page, Page]:
    """A leader and a follower, both ready."""
    leader = browser.open(test_page(server))
    leader.evaluate("durably.init()")
    follower = browser.open(test_page(server))
    follower.evaluate("durably.init()")
    follower.wait_for_function(FOLLOW)
    return leader, follower


def test_a_follower_is_told_of_the_leader_and_starts_no_python(tabs: tuple[Page, Page]) -> None:
    leader, follower = tabs

    led, followed = (tab.evaluate("states.at(-1)") for tab in tabs)

    assert (led["state"], led["stage"], led["epoch"]) == ("leader", "ready", 1)
    assert (followed["state"], followed["stage"], followed["epoch"]) == ("follower", "ready", 1)
    assert followed["store"] == led["store"]
    assert leader.evaluate("durably.jobs.count.name") == follower.evaluate("durably.jobs.count.name") == "count"
    assert follower.evaluate("states.every(({ state }) => state === 'follower')")


def test_a_follower_has_the_whole_api(tabs: tuple[Page, Page], server: Server) -> None:
    _, follower = tabs

    run = follower.evaluate("durably.jobs.count.trigger({ label: 'api', steps: 2 }, { labels: { of: 'api' } })")
    ended = follower.evaluate("(id) => durably.waitForRun(id)", run["id"])
    output = follower.evaluate("durably.jobs.anything.triggerAndWait([1]).then(({ output }) => output)")
    batch = follower.evaluate("durably.jobs.anything.batchTrigger([1, 2])")
    again = follower.evaluate("(id) => durably.retrigger(id)", run["id"])
    follower.evaluate("(id) => durably.waitForRun(id)", again["id"])

    assert (run["disposition"], ended["output"], output) == ("created", {"total": 1}, [1])
    assert follower.evaluate("(id) => durably.getRun(id)", run["id"]) == ended
    assert [found["id"] for found in follower.evaluate("durably.getRuns({ labels: { of: 'api' } })")] == [
        again["id"],
        run["id"],
    ]
    follower.evaluate("(ids) => Promise.all(ids.map((id) => durably.waitForRun(id)))", [each["id"] for each in batch])
    follower.evaluate("(id) => durably.deleteRun(id)", run["id"])
    assert follower.evaluate("(id) => durably.getRun(id)", run["id"]) is None
    assert follower.evaluate("durably.purgeRuns({ olderThan: new Date(Date.now() + 1000) })") == 4


def test_a_follower_reads_steps_and_logs_and_cancels(tabs: tuple[Page, Page], server: Server) -> None:
    _, follower = tabs
    server.close_gate("follower-cancels/1")
    run = follower.evaluate("durably.jobs.count.trigger({ label: 'follower-cancels', steps: 2 })")
    server.wait_for("follower-cancels/1")

    steps = follower.evaluate("(id) => durably.storage.getSteps(id)", run["id"])
    logs = follower.evaluate(
        """async (id) => {
          let logs = [];
          while (logs.length === 0) logs = await durably.storage.getLogs(id); // they are stored a little later
          return logs;
        }""",
        run["id"],
    )
    follower.evaluate("(id) => durably.cancel(id)", run["id"])
    server.open_gate("follower-cancels/1")

    assert [step["name"] for step in steps] == ["step-0"]
    assert [log["message"] for log in logs] == ["Counted 0"]
    assert follower.evaluate("(id) => durably.getRun(id)", run["id"])["status"] == "cancelled"


def test_errors_keep_their_name_on_the_way_to_a_follower(tabs: tuple[Page, Page]) -> None:
    _, follower = tabs

    rejected = follower.evaluate(
        "durably.jobs.count.trigger({ label: '', steps: 0 }).catch(({ name, message }) => ({ name, message }))"
    )

    assert rejected["name"] == "ValidationError"
    assert "label" in rejected["message"]
    assert follower.evaluate("durably.rejectedCalls()") == []


def test_events_come_to_every_tab_once_and_in_order(browser: Browser, tabs: tuple[Page, Page], server: Server) -> None:
    third = browser.open(test_page(server))
    third.evaluate("durably.init()")
    third.wait_for_function(FOLLOW)
    runs = [tab.evaluate(f"durably.jobs.count.trigger({{ label: 'all-{n}', steps: 3 }})") for n, tab in enumerate(tabs)]
    heard = []
    for tab in (*tabs, third):
        tab.wait_for_function("events.filter(({ type }) => type === 'run:complete').length === 2")
        heard.append(tab.evaluate("events.map(({ type, sequence, runId }) => ({ type, sequence, runId }))"))

    assert heard[0] == heard[1] == heard[2]
    sequences = [event["sequence"] for event in heard[0]]
    assert sequences == sorted(set(sequences))
    assert [event["runId"] for event in heard[0] if event["type"] == "run:trigger"] == [run["id"] for run in runs]


def test_a_follower_subscribes_to_a_run_of_another_tab(tabs: tuple[Page, Page], server: Server) -> None:
    leader, follower = tabs
    server.close_gate("subscribed/1")
    run = leader.evaluate("durably.jobs.count.trigger({ label: 'subscribed', steps: 2 })")
    server.wait_for("subscribed/1")
    follow(follower, run["id"])
    server.open_gate("subscribed/1")

    types = follower.evaluate("followed")

    assert types[0] == "run:leased"
    assert types[-1] == "run:complete"
    assert types.count("step:complete") == 1


def by_closing(leader: Page) -> None:
    leader.close()


def by_reloading(leader: Page) -> None:
    leader.reload()


def by_terminating_the_worker(leader: Page) -> None:
    leader.evaluate("workers[0].terminate()")


def by_navigating_away(leader: Page) -> None:
    leader.goto("about:blank")


LOSSES = [by_closing, by_reloading, by_terminating_the_worker, by_navigating_away]


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_a_follower_takes_over_in_the_middle_of_a_step(
    lose: Callable[[Page], None], store: str, browser: Browser, server: Server
) -> None:
    label = f"{lose.__name__}-{store}"
    gate = f"{label}/{INTERRUPTED}"
    server.close_gate(gate)
    leader = browser.open(test_page(server, store=store))
    leader.evaluate("durably.init()")
    follower = browser.open(test_page(server, store=store))
    run = follower.evaluate("(input) => durably.jobs.count.trigger(input)", {"label": label, "steps": STEPS})
    server.wait_for(gate)
    wait(follower, run["id"])
    follow(follower, run["id"])

    lose(leader)
    triggered = follower.evaluate(
        "(labels) => Promise.all(labels.map((label) => durably.jobs.count.trigger({ label, steps: 1 })))",
        [f"{label}-{n}" for n in (1, 2, 3)],
    )
    server.wait_for(gate, times=2)
    server.open_gate(gate)
    ended = follower.evaluate("waited")
    follower.evaluate(
        "(ids) => Promise.all(ids.map((id) => durably.waitForRun(id)))", [each["id"] for each in triggered]
    )

    assert ended["output"] == {"total": TOTAL}
    assert ended["leaseGeneration"] == 2
    assert server.journal(label) == {f"{label}/{n}": 2 if n == INTERRUPTED else 1 for n in range(STEPS)}
    assert follower.evaluate("followed.then((types) => types.at(-1))") == "run:complete"
    assert [each["disposition"] for each in triggered] == ["created"] * 3
    assert [server.journal(f"{label}-{n}") for n in (1, 2, 3)] == [{f"{label}-{n}/0": 1} for n in (1, 2, 3)]
    assert len(follower.evaluate("durably.getRuns()")) == 4
    assert (follower.evaluate("durably.state"), follower.evaluate("states.at(-1).epoch")) == ("leader", 2)


def test_a_third_tab_follows_the_new_leader(browser: Browser, tabs: tuple[Page, Page], server: Server) -> None:
    server.close_gate("third/1")
    leader, heir = tabs
    third = browser.open(test_page(server))
    third.wait_for_function(FOLLOW)
    run = third.evaluate("durably.jobs.count.trigger({ label: 'third', steps: 2 })")
    server.wait_for("third/1")
    wait(third, run["id"])
    follow(third, run["id"])

    leader.close()
    server.wait_for("third/1", times=2)
    server.open_gate("third/1")

    assert third.evaluate("waited")["output"] == {"total": 1}
    assert third.evaluate("followed.then((types) => types.at(-1))") == "run:complete"
    assert heir.evaluate("durably.state") == "leader"
    state = third.evaluate("states.at(-1)")
    assert (state["state"], state["stage"], state["epoch"]) == ("follower", "ready", 2)
    assert server.journal("third") == {"third/0": 1, "third/1": 2}


def test_a_leader_that_is_reloaded_comes_back_as_a_follower(tabs: tuple[Page, Page]) -> None:
    leader, heir = tabs

    leader.reload()
    heir.wait_for_function("durably.state === 'leader'")
    leader.wait_for_function(FOLLOW)

    assert leader.evaluate("states.at(-1).epoch") == 2
    assert leader.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7


def test_the_back_forward_cache_passes_leadership_on(launch: Callable[..., Browser], server: Server) -> None:
    """Chromium throws a page out of this cache when another one asks who holds locks; then it is loaded again."""
    browser = launch(ignore_default_args=["--disable-back-forward-cache"])
    leader = browser.open(test_page(server))
    leader.evaluate("durably.init()")
    heir = browser.open(test_page(server))
    heir.wait_for_function(FOLLOW)

    run = cached_in_the_middle_of_a_run(leader, server, "cached")
    heir.wait_for_function("durably.state === 'leader'")
    go_back(leader)
    leader.wait_for_function(f"window.durably && {FOLLOW}")
    server.open_gate("cached/1")

    assert leader.evaluate("(id) => durably.waitForRun(id)", run["id"])["output"] == {"total": 1}
    assert leader.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    assert server.journal("cached") == {"cached/0": 1, "cached/1": 2}


def test_a_lone_page_goes_on_when_it_comes_back_from_the_cache(launch: Callable[..., Browser], server: Server) -> None:
    browser = launch(ignore_default_args=["--disable-back-forward-cache"])
    page = browser.open(test_page(server))
    cached_in_the_middle_of_a_run(page, server, "lone-cached")

    go_back(page)
    server.wait_for("lone-cached/1", times=2)
    server.open_gate("lone-cached/1")

    assert page.evaluate("isOld")
    assert page.evaluate("waited")["output"] == {"total": 1}
    assert server.journal("lone-cached") == {"lone-cached/0": 1, "lone-cached/1": 2}


def go_back(page: Page) -> None:
    """Begin to go back: from the cache, a page is back before a script that waits for it could return."""
    page.evaluate("void setTimeout(() => history.back())")


def cached_in_the_middle_of_a_run(page: Page, server: Server, label: str) -> dict[str, Any]:
    """Leave a page, marked as `isOld`, that waits for a run which is held in its second step, and return the run."""
    server.close_gate(f"{label}/1")
    run: dict[str, Any] = page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 2 })", label)
    server.wait_for(f"{label}/1")
    page.evaluate("void (window.isOld = true)")
    wait(page, run["id"])
    see_python_idle(page)
    page.goto(f"{server.url}/index.html")
    return run


def wait(page: Page, run_id: str) -> None:
    """Begin to wait for a run in the page, as `waited`, and see that it does."""
    page.evaluate("(id) => { window.waited = durably.waitForRun(id); return durably.getRun(id); }", run_id)


def see_python_idle(page: Page) -> None:
    """See Python answer: a worker that computes outlives its page in Chromium, which then does not cache the page."""
    page.evaluate("durably.cancel('nobody').catch(() => {})")


def follow(page: Page, run_id: str) -> None:
    """Begin to read a run's stream in the page, the types of its events as `followed`, and see its first event."""
    page.evaluate(
        """async (id) => {
          const reader = durably.subscribe(id).getReader();
          const types = [(await reader.read()).value.type];
          const rest = async () => {
            for (let next = await reader.read(); !next.done; next = await reader.read()) types.push(next.value.type);
            return types;
          };
          window.followed = rest();
        }""",
        run_id,
    )
