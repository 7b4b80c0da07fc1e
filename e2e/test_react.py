"""The hooks of `@coji/durably-react/spa`, as they are on npm, over our client in a React page."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from e2e.browser import Browser
from e2e.conftest import ROOT
from e2e.server import Server

REACT = ROOT / "e2e/react"
PATIENCE_MS = 60_000

provided = pytest.mark.parametrize("provide", ["client", "leased"])


@pytest.fixture(scope="session")
def react_server(
    build: Callable[[Path], Path], serve: Callable[[Path], Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """The React page's server. The page is bundled, our client is what the site has."""
    if not (REACT / "node_modules/installed").exists():
        pytest.fail("React is not installed: make e2e/react/node_modules/installed")
    source = tmp_path_factory.mktemp("react") / "site"
    source.mkdir()
    shutil.copy(ROOT / "e2e/site/jobs.py", source)
    shutil.copy(REACT / "index.html", source)
    bundle = ["npm", "run", "--silent", "bundle", "--", f"--outfile={source / 'page.js'}"]
    subprocess.run(bundle, cwd=REACT, check=True)
    return serve(build(source))


@pytest.fixture
def react_page(browser: Browser, react_server: Server) -> Page:
    """The React page, ready."""
    page = browser.open(address(react_server))
    page.evaluate("durably.init()")
    return page


def address(server: Server, *, provide: str = "ready", **parameters: str) -> str:
    """The page's address; what the parameters mean is written in `react/page.jsx`."""
    return f"{server.url}/index.html?{urlencode({'provide': provide, **parameters})}"


def see(page: Page, selector: str, text: str) -> None:
    expect(page.locator(selector)).to_have_text(text, timeout=PATIENCE_MS)


def see_rows(page: Page, selector: str, rows: list[str]) -> None:
    expect(page.locator(f"{selector} li")).to_have_text(rows, timeout=PATIENCE_MS)


def click(page: Page, section: str, button: str) -> None:
    page.locator(section).get_by_role("button", name=button, exact=True).click()


def trigger(page: Page, label: str, steps: int = 2, *, button: str = "Trigger") -> None:
    page.locator("#job [name=label]").fill(label)
    page.locator("#job [name=steps]").fill(str(steps))
    click(page, "#job", button)


def trigger_and_see_it_leased(page: Page, server: Server, label: str, steps: int = 2) -> None:
    """Trigger a run and hold its first step until `useJobRun` shows it: from then on every hook listens."""
    server.close_gate(f"{label}/0")
    trigger(page, label, steps)
    see(page, "#run .status", "leased")
    server.open_gate(f"{label}/0")


def test_a_run_is_triggered_and_followed_by_each_hook(react_page: Page, react_server: Server) -> None:
    page = react_page
    react_server.close_gate("all/1")
    trigger_and_see_it_leased(page, react_server, "all")
    for hook in ("#job", "#run", "#latest"):
        see(page, f"{hook} .status", "leased")
        see(page, f"{hook} .phase", "active")
        see(page, f"{hook} .progress", "1/2 Counting")
        see_rows(page, hook, ["info - Counted 0"])
    see_rows(page, "#logs", ["info - Counted 0"])
    see_rows(page, "#runs", ["count all leased 1/2"])
    assert page.locator("#job .run").text_content() == page.locator("#latest .run").text_content() != ""

    react_server.open_gate("all/1")
    for hook in ("#job", "#run", "#latest"):
        see(page, f"{hook} .status", "completed")
        see(page, f"{hook} .phase", "terminal")
        see(page, f"{hook} .progress", "2/2 Counting")
        see(page, f"{hook} .output", '{"total":1}')
        see_rows(page, hook, ["info - Counted 0", "info - Counted 1"])
    see_rows(page, "#logs", ["info - Counted 0", "info - Counted 1"])
    see_rows(page, "#runs", ["count all completed 2/2"])
    see_rows(page, "#ended", ["count all completed 2/2"])

    click(page, "#logs", "Clear")
    see_rows(page, "#logs", [])
    click(page, "#job", "Reset")
    see(page, "#job .status", "")


def test_only_the_latest_logs_are_kept(react_page: Page, react_server: Server) -> None:
    trigger_and_see_it_leased(react_page, react_server, "logs", 4)
    see(react_page, "#run .status", "completed")
    see_rows(react_page, "#run", [f"info - Counted {number}" for number in range(4)])
    see_rows(react_page, "#logs", ["info - Counted 2", "info - Counted 3"])


def test_waiting_gives_the_output_or_the_reason(react_page: Page, react_server: Server) -> None:
    trigger(react_page, "waited", 3, button="Wait")
    see(react_page, "#job .told", '{"total":5}')
    see(react_page, "#job .status", "completed")

    trigger(react_page, "wrong", 0, button="Wait")
    expect(react_page.locator("#job .told")).to_contain_text("ValidationError", timeout=PATIENCE_MS)
    expect(react_page.locator("#job .told")).to_contain_text("steps")
    see(react_page, "#job .status", "")

    react_server.close_gate("cancelled/0")
    trigger(react_page, "cancelled", button="Wait")
    react_server.wait_for("cancelled/0")
    see(react_page, "#job .status", "leased")
    react_page.evaluate("(id) => durably.cancel(id)", react_page.locator("#job .run").text_content())
    see(react_page, "#job .status", "cancelled")
    see(react_page, "#job .told", "Error: Job cancelled")
    see_rows(react_page, "#ended", ["count cancelled cancelled", "count waited completed 3/3"])
    react_server.open_gate("cancelled/0")


def test_a_failure_is_told(react_page: Page) -> None:
    click(react_page, "#failing", "Trigger")
    see(react_page, "#failing .status", "failed")
    expect(react_page.locator("#failing .error")).to_contain_text("not-a-number")
    see_rows(react_page, "#ended", ["unstorable failed"])
    see(react_page, "#latest .status", "")


def test_a_pending_run_waits_for_its_turn(react_page: Page, react_server: Server) -> None:
    page = react_page
    react_server.close_gate("first/0")
    react_server.close_gate("second/0")
    trigger(page, "first", 1)
    see(page, "#job .status", "leased")
    trigger(page, "second", 1)
    see(page, "#run .status", "pending")
    see(page, "#latest .status", "leased")
    see_rows(page, "#runs", ["count second pending", "count first leased"])
    react_server.open_gate("first/0")
    see(page, "#run .status", "leased")
    react_server.open_gate("second/0")
    see(page, "#run .status", "completed")
    see(page, "#job .status", "completed")
    assert page.locator("#job .run").text_content() == page.locator("#latest .run").text_content()


def test_a_list_has_pages_and_follows_what_happens(react_page: Page) -> None:
    page = react_page
    page.evaluate(
        """async () => {
            for (const label of ['a', 'b', 'c', 'd', 'e']) await durably.jobs.count.triggerAndWait({ label, steps: 1 });
        }"""
    )
    rows = {label: f"count {label} completed 1/1" for label in "abcdef"}
    see_rows(page, "#runs", [rows["e"], rows["d"]])
    see(page, "#runs .page", "0 more")
    click(page, "#runs", "Next")
    see_rows(page, "#runs", [rows["c"], rows["b"]])
    see(page, "#runs .page", "1 more")
    click(page, "#runs", "Next")
    see_rows(page, "#runs", [rows["a"]])
    see(page, "#runs .page", "2")
    click(page, "#runs", "Previous")
    see_rows(page, "#runs", [rows["c"], rows["b"]])
    page.evaluate("durably.getRuns({ limit: 1 }).then(([{ id }]) => durably.deleteRun(id))")
    see_rows(page, "#runs", [rows["b"], rows["a"]])
    trigger(page, "f", 1)
    see_rows(page, "#runs", [rows["c"], rows["b"]])
    click(page, "#runs", "First")
    see_rows(page, "#runs", [rows["f"], rows["d"]])


def test_a_trigger_waits_for_the_engine(browser: Browser, react_server: Server) -> None:
    page = browser.open(address(react_server, provide="client"))
    react_server.close_gate("early/0")
    trigger(page, "early", 1)
    assert page.evaluate("durably.state") == "starting"
    see(page, "#run .status", "leased")
    react_server.open_gate("early/0")
    see(page, "#job .status", "completed")
    see(page, "#run .status", "completed")
    see_rows(page, "#runs", ["count early completed 1/1"])


def test_a_provider_that_is_mounted_again_begins_anew(browser: Browser, react_server: Server) -> None:
    page = browser.open(address(react_server, provide="effect"))  # which React's StrictMode mounts twice
    for round in range(1, 3):
        trigger(page, f"mounted-{round}", 1)
        see(page, "#job .status", "completed")
        see_rows(page, "#ended", [f"count mounted-{number} completed 1/1" for number in range(round, 0, -1)])
        click(page, "#mounting", "Mount again")
        see(page, "#job .status", "")

    react_server.close_gate("held/0")
    trigger(page, "held", 1)
    react_server.wait_for("held/0")
    click(page, "#mounting", "Mount again")
    page.wait_for_function("durably.state === 'follower'")  # of the engine that is ending
    react_server.open_gate("held/0")
    see(page, "#ended li >> nth=0", "count held completed 1/1")
    assert react_server.journal("held") == {"held/0": 1}


@provided
def test_a_reload_goes_on_with_the_run_in_the_address(browser: Browser, react_server: Server, provide: str) -> None:
    label = f"known-{provide}"
    page = browser.open(address(react_server))
    run_id = held_in_the_middle(page, react_server, label)

    page.goto(address(react_server, provide=provide, run=run_id))
    react_server.wait_for(f"{label}/1", times=2)
    see_rows(page, "#runs", [f"count {label} leased 1/3"])
    for hook in ("#job", "#run", "#latest"):
        see(page, f"{hook} .status", "leased")
    see_the_end(page, react_server, label, ["#job", "#run", "#latest"])


@provided
def test_a_reload_finds_the_run_by_itself(browser: Browser, react_server: Server, provide: str) -> None:
    label = f"found-{provide}"
    page = browser.open(address(react_server))
    run_id = held_in_the_middle(page, react_server, label)

    page.goto(address(react_server, provide=provide))
    react_server.wait_for(f"{label}/1", times=2)
    see_rows(page, "#runs", [f"count {label} leased 1/3"])
    see(page, "#job .run", run_id)
    see(page, "#latest .run", run_id)
    see(page, "#latest .status", "leased")
    see_the_end(page, react_server, label, ["#job", "#latest"])


def held_in_the_middle(page: Page, server: Server, label: str) -> str:
    """Trigger a run of three steps that stops in its second, and return its id."""
    server.close_gate(f"{label}/1")
    page.evaluate("durably.init()")
    trigger(page, label, 3)
    server.wait_for(f"{label}/1")
    see(page, "#job .progress", "1/3 Counting")
    return page.locator("#job .run").text_content() or ""


def see_the_end(page: Page, server: Server, label: str, hooks: list[str]) -> None:
    """Let the run go on; its first step must not have run again."""
    server.open_gate(f"{label}/1")
    for hook in hooks:
        see(page, f"{hook} .status", "completed")
        see(page, f"{hook} .progress", "3/3 Counting")
        see(page, f"{hook} .output", '{"total":5}')
    see_rows(page, "#runs", [f"count {label} completed 3/3"])
    assert server.journal(label) == {f"{label}/0": 1, f"{label}/1": 2, f"{label}/2": 1}
