"""A new tab meets an old leader: the newer version goes on with the runs, and the old tab asks to be reloaded."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

FOLLOWS = "durably.state === 'follower' && states.at(-1).stage === 'ready'"
STOPPED = "durably.state === 'stopped'"
NOTICE = "NewerVersion"
RELOAD = "A newer version of this app is open in another tab; reload this one to go on"
VERSION = "indexedDB.databases().then((all) => all.find(({ name }) => name === 'test').version)"


def with_newer_app(page: Page, server: Server) -> None:
    page.goto(test_page(server, app="1.10.0"))


def with_newer_schema(page: Page, server: Server) -> None:
    alter(page, "schema.js", "SCHEMA_VERSION = 1", "SCHEMA_VERSION = 2")
    page.goto(test_page(server))


def with_newer_protocol(page: Page, server: Server) -> None:
    alter(page, "protocol.js", "PROTOCOL_VERSION = 1", "PROTOCOL_VERSION = 2")
    page.goto(test_page(server))


NEWER = [with_newer_app, with_newer_schema, with_newer_protocol]


@pytest.mark.parametrize("open_newer", NEWER)
def test_an_old_leader_finishes_its_step_and_steps_down(open_newer: object, browser: Browser, server: Server) -> None:
    assert callable(open_newer)
    label = open_newer.__name__
    gate = f"{label}/1"
    server.close_gate(gate)
    old = ready(browser, server, app="1.9.0")
    run = old.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 3 })", label)
    server.wait_for(gate)
    new = browser.open(f"{server.url}/index.html")
    open_newer(new, server)
    new.wait_for_function(FOLLOWS)
    assert old.evaluate("durably.state") == "leader"
    assert new.evaluate(VERSION) == 1
    server.open_gate(gate)

    ended = new.evaluate("(id) => durably.waitForRun(id)", run["id"])
    old.wait_for_function(STOPPED)

    assert (ended["output"], ended["leaseGeneration"]) == ({"total": 5}, 2)
    assert server.journal(label) == {f"{label}/0": 1, gate: 1, f"{label}/2": 1}
    assert new.evaluate("[durably.state, states.at(-1).epoch]") == ["leader", 2]
    assert new.evaluate(VERSION) == (2 if open_newer is with_newer_schema else 1)
    assert old.evaluate("states.at(-1).notice") == {"name": NOTICE, "message": RELOAD}
    assert rejection(old) == RELOAD


def test_a_follower_of_an_older_app_is_served(browser: Browser, server: Server) -> None:
    leader = ready(browser, server, app="1.10.0")
    older, silent = (ready(browser, server, **options) for options in ({"app": "1.9.0"}, {}))

    for tab in (older, silent):
        tab.wait_for_function(FOLLOWS)
        assert tab.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7

    assert leader.evaluate("[durably.state, states.at(-1).epoch]") == ["leader", 1]


def test_a_leader_without_a_version_of_its_own_stays(browser: Browser, server: Server) -> None:
    leader = ready(browser, server)
    follower = ready(browser, server, app="1.10.0")
    follower.wait_for_function(FOLLOWS)

    assert follower.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    assert leader.evaluate("[durably.state, states.at(-1).epoch]") == ["leader", 1]


def test_a_follower_of_an_older_protocol_stops(browser: Browser, server: Server) -> None:
    leader = browser.open(f"{server.url}/index.html")
    with_newer_protocol(leader, server)
    leader.evaluate("durably.init()")
    old = browser.open(test_page(server))

    old.wait_for_function(STOPPED)

    assert old.evaluate("states.at(-1).notice") == {"name": NOTICE, "message": RELOAD}
    assert rejection(old) == RELOAD
    assert leader.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7


def test_an_app_that_is_no_text_is_refused(shared_page: Page) -> None:
    refused = shared_page.evaluate(
        """[1, ''].map((app) => {
          try {
            createDurably({ database: 'test', jobs: './jobs.py', app });
          } catch ({ name, message }) {
            return { name, message };
          }
        })"""
    )

    assert [error["name"] for error in refused] == ["ValidationError"] * 2
    assert "app must be text, not 1" in refused[0]["message"]


def ready(browser: Browser, server: Server, **options: object) -> Page:
    page = browser.open(test_page(server, **options))
    page.evaluate("durably.init()")
    return page


def rejection(page: Page) -> object:
    return page.evaluate("durably.jobs.anything.trigger(1).then(() => null, ({ message }) => message)")


def alter(page: Page, file: str, old: str, new: str) -> None:
    """Let a page and its worker load one of the shared files in another version."""

    def fulfill(route: Route) -> None:
        text = route.fetch().text()
        assert old in text
        route.fulfill(body=text.replace(old, new), content_type="text/javascript")

    page.route(f"**/shared/{file}", fulfill)
