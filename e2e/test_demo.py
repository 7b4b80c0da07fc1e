"""The demo, used as a person would use it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.browser import Browser
from e2e.conftest import ROOT
from e2e.server import Server

expect.set_options(timeout=60_000)

HEADER = "iata,name,city,state,country,latitude,longitude\n"
GOOD = "AAA,First Field,Springfield,IL,USA,39.8,-89.6\n"


# Note whether the page says that there are no runs, be it for a moment.
WATCH = """new MutationObserver(() => {
    window.saidNone ||= document.getElementById('no-runs')?.hidden === false;
}).observe(document, { subtree: true, childList: true, attributes: true });"""


@pytest.fixture
def demo_server(serve: Callable[[Path], Server], demo_site: Path) -> Server:
    return serve(demo_site)


@pytest.fixture
def address(demo_server: Server) -> str:
    return f"{demo_server.url}/"


@pytest.fixture
def demo(browser: Browser, address: str) -> Page:
    page = browser.open(address)
    page.locator('#engine[data-state="leader"][data-stage="ready"]').wait_for()
    return page


def choose(page: Page, name: str, content: bytes) -> None:
    page.locator("#file").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def fact(page: Page, name: str) -> str:
    return page.locator(f"#result [data-fact={name}] dd").inner_text().replace(",", "")


def ended(page: Page, status: str) -> None:
    expect(page.locator("#run")).to_have_attribute("data-status", status)
    expect(page.locator("#result")).to_have_attribute("data-status", status)


def sample_counts() -> tuple[int, int]:
    with (ROOT / "web/demo/airports.csv").open() as file:
        states = [row["state"] for row in csv.DictReader(file)]
    return len(states) - states.count("NA"), states.count("NA")


def test_imports_the_sample(demo: Page) -> None:
    imported, rejected = sample_counts()
    demo.locator("#pace").select_option("0")
    demo.get_by_role("button", name="Import the sample").click()
    ended(demo, "completed")
    assert fact(demo, "imported") == str(imported)
    assert fact(demo, "rejected") == str(rejected)
    expect(demo.locator('#log p[data-level="warn"]')).to_have_count(rejected)
    expect(demo.locator('#result tr[data-state="AK"]')).to_contain_text("263")


def test_goes_on_at_the_next_batch_after_a_reload(demo: Page) -> None:
    imported, rejected = sample_counts()
    demo.locator("#pace").select_option("250")
    demo.get_by_role("button", name="Import the sample").click()
    expect(demo.locator("#progress")).to_have_attribute("value", re.compile(r"^[5-9]\d\d$"))

    demo.reload()
    expect(demo.locator("#resumed")).to_contain_text("Resumed at batch")
    batch = int(re.findall(r"batch (\d+)", demo.locator("#resumed").inner_text())[0])
    assert 5 <= batch <= 34
    ended(demo, "completed")
    assert (fact(demo, "imported"), fact(demo, "rejected")) == (str(imported), str(rejected))
    expect(demo.locator('#log p[data-level="warn"]')).to_have_count(rejected)


def test_shows_the_runs_before_python_is_there(demo: Page, demo_server: Server) -> None:
    choose(demo, "mine.csv", (HEADER + GOOD).encode())
    ended(demo, "completed")
    demo_server.close_gate("durably/manifest.json")
    demo.add_init_script(WATCH)
    demo.reload()
    expect(demo.locator("#runs button")).to_contain_text("mine.csv")
    expect(demo.locator("#result [data-fact=imported] dd")).to_have_text("1")
    expect(demo.locator("#engine")).to_have_attribute("data-state", "starting")
    assert not demo.evaluate("saidNone")
    demo_server.open_gate("durably/manifest.json")
    expect(demo.locator("#engine")).to_have_attribute("data-state", "leader")


def test_says_that_there_are_no_runs(browser: Browser, demo_server: Server, address: str) -> None:
    demo_server.close_gate("durably/manifest.json")
    page = browser.open(address)
    expect(page.locator("#no-runs")).to_be_visible()
    expect(page.locator("#run-empty")).to_be_visible()
    demo_server.open_gate("durably/manifest.json")


def test_imports_a_file_of_ones_own(demo: Page) -> None:
    bad = 'BBB,Nowhere,"Paris, TX",Texas,USA,95.5,-89.6\n'
    choose(demo, "mine.csv", (HEADER + GOOD + bad).encode())
    ended(demo, "completed")
    assert (fact(demo, "imported"), fact(demo, "rejected")) == ("1", "1")
    warning = demo.locator('#log p[data-level="warn"]')
    expect(warning).to_contain_text("Row 3")
    expect(warning).to_contain_text("state")
    expect(warning).to_contain_text("latitude")
    expect(demo.locator("#run-title")).to_contain_text("mine.csv")


def test_imports_a_file_with_semicolons_and_a_cell_of_any_length(demo: Page) -> None:
    semicolons = (HEADER + GOOD).replace(",", ";").replace("First Field", "F" * 200_000)
    choose(demo, "mine.csv", f"sep=;\r\n{semicolons}".encode())
    ended(demo, "completed")
    assert (fact(demo, "imported"), fact(demo, "rejected")) == ("1", "0")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00\x01binary", "UTF-8"),
        ("iata,name\nMünchen".encode("latin-1"), "UTF-8"),
        (b"just some prose\nwithout any table", "column"),
    ],
)
def test_a_bad_file_fails_with_words_a_person_understands(demo: Page, content: bytes, reason: str) -> None:
    choose(demo, "bad.csv", content)
    ended(demo, "failed")
    failure = demo.locator("#result .failure").first
    expect(failure).to_contain_text(reason)
    expect(failure).not_to_contain_text("Traceback")


def test_a_run_can_be_cancelled_and_looked_at_again(demo: Page) -> None:
    demo.locator("#pace").select_option("1000")
    demo.get_by_role("button", name="Import the sample").click()
    demo.locator("#cancel").click()
    ended(demo, "cancelled")
    choose(demo, "next.csv", (HEADER + GOOD).encode())
    ended(demo, "completed")
    demo.locator('#runs button[data-status="cancelled"]').press("Enter")
    ended(demo, "cancelled")
    expect(demo.locator("#runs button")).to_have_count(2)


def test_a_second_tab_says_who_leads_and_takes_over(browser: Browser, demo: Page, address: str) -> None:
    second = browser.open(address)
    expect(second.locator("#engine")).to_have_attribute("data-state", "follower")
    demo.close()
    expect(second.locator("#engine")).to_have_attribute("data-state", "leader")


def test_works_with_the_keyboard_alone_on_a_phone(launch: Callable[..., Browser], address: str) -> None:
    page = launch(viewport={"width": 390, "height": 844}, color_scheme="dark").open(address)
    page.locator('#engine[data-state="leader"]').wait_for()
    page.locator("#pace").select_option("0")
    page.locator("#import-sample").focus()
    page.keyboard.press("Enter")
    ended(page, "completed")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
