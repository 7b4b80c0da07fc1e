"""Python dies: another one goes on, in whichever tab, and a run that kills it again and again is ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server
from e2e.test_tabs import FOLLOW

TRAP = "memory access out of bounds"
REASON = f"RuntimeError: {TRAP}"
STEPS = 5

Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Open:
    """Open a test page of which it is known that Python dies in it."""

    def open_page(**options: object) -> Page:
        return browser.open(test_page(server, **options), expected=is_of_a_death)

    return open_page


def is_of_a_death(trouble: str) -> bool:
    """Pyodide says in the console what it died of, and throws that into whatever had called Python."""
    return trouble.startswith("console: ") or trouble == f"uncaught: {TRAP}"


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_a_run_that_kills_python_three_times_fails(store: str, open_page: Open, server: Server) -> None:
    page = open_page(store=store, maxConcurrentRuns=2)
    label, other = f"deadly-{store}", f"beside-{store}"
    server.close_gate(f"{label}/1")
    server.close_gate(f"{other}/1")
    run = page.evaluate(TRIGGER_DEADLY, {"label": label, "steps": STEPS, "gets_on": False})
    server.wait_for(f"{label}/1")
    beside = page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 2 })", other)
    server.wait_for(f"{other}/1")
    server.open_gate(f"{label}/1")

    page.wait_for_function("events.some(({ type }) => type === 'run:fail')")
    server.open_gate(f"{other}/1")
    ended = page.evaluate("(id) => durably.waitForRun(id)", beside["id"])

    assert ended["output"] == {"total": 1}
    failed = page.evaluate("(id) => durably.getRun(id)", run["id"])
    assert (failed["status"], failed["error"], failed["errorType"]) == ("failed", f"crash loop: {REASON}", "CrashLoop")
    assert server.journal(label) == {f"{label}/0": 1, f"{label}/1": 3}
    assert crashes(page) == [REASON] * 3
    assert page.evaluate("events.filter(({ type }) => type === 'run:fail').map(({ error }) => error)") == [
        f"crash loop: {REASON}"
    ]
    assert page.evaluate("states.map(({ state }) => state)").count("failed") == 0
    assert page.evaluate("states.at(-1).epoch") == 4


def test_a_run_that_gets_on_is_not_failed(open_page: Open, server: Server) -> None:
    page = open_page()

    run = page.evaluate(TRIGGER_DEADLY, {"label": "gets-on", "steps": STEPS, "gets_on": True})
    ended = page.evaluate("(id) => durably.waitForRun(id)", run["id"])

    assert ended["output"] == "survived"
    assert crashes(page) == [REASON] * (STEPS - 1)
    assert server.journal("gets-on") == {f"gets-on/{n}": 1 if n == 0 else 2 for n in range(STEPS)}


def test_deaths_are_counted_from_tab_to_tab(open_page: Open, server: Server) -> None:
    tabs = [open_page() for _ in range(2)]
    tabs[0].evaluate("durably.init()")
    tabs[1].wait_for_function(FOLLOW)

    run = tabs[1].evaluate(TRIGGER_DEADLY, {"label": "tabs", "steps": STEPS, "gets_on": False})
    errors = [tab.evaluate("(id) => durably.waitForRun(id).catch(({ message }) => message)", run["id"]) for tab in tabs]

    assert errors == [f"Run {run['id']} failed: crash loop: {REASON}"] * 2
    assert server.journal("tabs") == {"tabs/0": 1, "tabs/1": 3}
    assert sorted(tab.evaluate("durably.state") for tab in tabs) == ["follower", "leader"]
    assert [tab.evaluate("states.at(-1).epoch") for tab in tabs] == [4, 4]


def test_any_error_in_the_worker_is_a_death(open_page: Open, server: Server) -> None:
    page = open_page()
    server.close_gate("stray/throw")

    run = page.evaluate("durably.jobs.stray.trigger('stray')")
    server.wait_at("stray/throw")
    page.evaluate(END_SLOWLY)  # the erring engine has the time to count its own death, and must not
    server.open_gate("stray/throw")
    server.close_gate("stray/throw")  # which the next engine comes to
    server.wait_for("stray/throw", times=2)
    page.evaluate("(id) => durably.cancel(id)", run["id"])

    assert crashes(page) == ["Error: a stray error"]
    assert server.journal("stray") == {"stray/0": 1, "stray/throw": 2}
    assert page.evaluate("(id) => durably.getRun(id)", run["id"])["status"] == "cancelled"


def test_what_was_asked_of_a_dead_python_is_answered_by_the_next(open_page: Open, server: Server) -> None:
    page = open_page()
    server.close_gate("asked/1")
    page.evaluate(TRIGGER_DEADLY, {"label": "asked", "steps": STEPS, "gets_on": True})
    server.wait_for("asked/1")

    page.evaluate(
        """() => {
          const death = new Promise((resolve) => workers[0].addEventListener('error', resolve));
          window.asked = death.then(() => durably.jobs.anything.trigger(7)).then(({ id }) => durably.waitForRun(id));
        }"""
    )
    server.open_gate("asked/1")

    assert page.evaluate("asked")["output"] == 7
    assert len(page.evaluate("durably.getRuns({ jobName: 'anything' })")) == 1
    answered = page.evaluate("events.find(({ type, jobName }) => type === 'run:trigger' && jobName === 'anything').at")
    replaced = page.evaluate(
        "states.find(({ state }, n) => state === 'starting' && states[n - 1]?.state === 'leader').at"
    )
    assert replaced < answered


def test_a_reload_is_no_death(page: Page, server: Server) -> None:
    server.close_gate("reloaded/1")
    run = page.evaluate("durably.jobs.count.trigger({ label: 'reloaded', steps: 2 })")
    for times in (1, 2, 3):
        server.wait_for("reloaded/1", times=times)
        page.reload()
    server.wait_for("reloaded/1", times=4)
    server.open_gate("reloaded/1")

    assert page.evaluate("(id) => durably.waitForRun(id)", run["id"])["output"] == {"total": 1}
    assert crashes(page) == []


END_SLOWLY = """() => {
  const [worker] = workers;
  worker.terminate = () => setTimeout(() => Worker.prototype.terminate.call(worker), 1000);
}"""
TRIGGER_DEADLY = "(input) => durably.jobs.deadly.trigger(input)"


def crashes(page: Page) -> list[str]:
    """The deaths of Python that the page was told of."""
    told: list[str] = page.evaluate("events.filter(({ context }) => context === 'crash').map(({ error }) => error)")
    return told
