"""A run that is interrupted goes on at its first unfinished step, however it was interrupted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

STEPS = 6
INTERRUPTED = 3
TOTAL = sum(number * number for number in range(STEPS))

Launch = Callable[..., Browser]


def by_reload(launch: Launch, browser: Browser, page: Page, url: str) -> Page:
    page.reload()
    return page


def by_closing_the_page(launch: Launch, browser: Browser, page: Page, url: str) -> Page:
    after = browser.context.new_page()  # a browser without a page ends
    page.close()
    after.close()
    return browser.open(url)


def by_terminating_the_worker(launch: Launch, browser: Browser, page: Page, url: str) -> Page:
    page.evaluate("workers[0].terminate()")
    return browser.open(url)


def by_killing_the_browser(launch: Launch, browser: Browser, page: Page, url: str) -> Page:
    browser.kill()
    return launch().open(url)


@pytest.mark.parametrize(
    "interrupt", [by_reload, by_closing_the_page, by_terminating_the_worker, by_killing_the_browser]
)
def test_goes_on_at_the_first_unfinished_step(
    interrupt: Callable[[Launch, Browser, Page, str], Page], launch: Launch, server: Server
) -> None:
    label = interrupt.__name__
    gate = f"{label}/{INTERRUPTED}"
    url = test_page(server)
    server.close_gate(gate)
    browser = launch()
    page = browser.open(url)
    run = page.evaluate("(input) => durably.jobs.count.trigger(input)", {"label": label, "steps": STEPS})
    server.wait_for(gate)
    page.wait_for_function(f"events.filter(({{type}}) => type === 'step:complete').length === {INTERRUPTED}")

    page = interrupt(launch, browser, page, url)
    server.wait_for(gate, times=2)
    server.open_gate(gate)
    ended = page.evaluate("(id) => durably.waitForRun(id)", run["id"])

    assert ended["output"] == {"total": TOTAL}
    assert ended["leaseGeneration"] == 2
    assert server.journal(label) == {f"{label}/{n}": 2 if n == INTERRUPTED else 1 for n in range(STEPS)}


def test_a_second_tab_takes_over_when_the_first_is_closed(browser: Browser, server: Server) -> None:
    server.close_gate("takeover/2")
    first = browser.open(test_page(server))
    run = first.evaluate("durably.jobs.count.trigger({ label: 'takeover', steps: 4 })")
    server.wait_for("takeover/2")
    second = browser.open(test_page(server))
    second.wait_for_function("durably.state === 'follower'")

    first.close()
    server.wait_for("takeover/2", times=2)
    server.open_gate("takeover/2")
    ended = second.evaluate("(id) => durably.waitForRun(id)", run["id"])

    assert ended["output"] == {"total": 14}
    assert server.journal("takeover") == {"takeover/0": 1, "takeover/1": 1, "takeover/2": 2, "takeover/3": 1}
    assert second.evaluate("states.map(({epoch}) => epoch).at(-1)") == 2


def test_resumes_at_once_and_not_when_the_lease_expires(page: Page, server: Server) -> None:
    server.close_gate("at-once/1")
    page.evaluate("durably.jobs.count.trigger({ label: 'at-once', steps: 2 })")
    server.wait_for("at-once/1")
    lease = page.evaluate("events.find(({type}) => type === 'run:leased').leaseExpiresAt")

    page.reload()
    server.wait_for("at-once/1", times=2)
    server.open_gate("at-once/1")

    page.wait_for_function("events.some(({type}) => type === 'run:complete')")
    leased = page.evaluate("events.find(({type}) => type === 'run:leased')")
    assert leased["timestamp"] < lease
