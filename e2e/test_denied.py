"""Where the browser denies storage, the error says what is denied and what would help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Frame, Playwright

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

pytestmark = pytest.mark.cold

THIRD_PARTY_BLOCKED = {"profile": {"cookie_controls_mode": 1, "block_third_party_cookies": True}}
ALL_BLOCKED = {"profile": {"default_content_setting_values": {"cookies": 2}}}
FRAME = """([src, sandbox]) => new Promise((resolve) => {
    const frame = document.createElement('iframe');
    if (sandbox) frame.sandbox = sandbox;
    frame.onload = resolve;
    frame.src = src;
    document.body.append(frame);
})"""
INIT = """async () => {
    while (!window.loaded) await new Promise((resolve) => setTimeout(resolve, 10));
    const { name, message } = await durably.init().then(() => ({}), (error) => error);
    return [durably.state, name, message];
}"""
HELP = (
    "in a frame of another site",
    "Open the page in a tab of its own",
    "allow its site's data",
    "requestStorageAccess",
)


@pytest.fixture
def start(playwright: Playwright, tmp_path: Path) -> Iterator[Callable[[dict[str, object]], Browser]]:
    """Start a browser with these preferences."""
    browsers: list[Browser] = []

    def start(preferences: dict[str, object]) -> Browser:
        folder = tmp_path / "profile/Default"
        folder.mkdir(parents=True)
        (folder / "Preferences").write_text(json.dumps(preferences))
        browsers.append(Browser(playwright, tmp_path / "profile"))
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()
    assert [trouble for browser in browsers for trouble in browser.troubles] == []


@pytest.fixture
def open_server(site: Path) -> Iterator[Server]:
    """A server whose modules a page without an origin may load too."""
    server = Server(site, [("access-control-allow-origin", "*")])
    yield server
    server.stop()


def framed(browser: Browser, server: Server, host: str, sandbox: str, **options: object) -> Frame:
    """Open a page that has the test page in a frame, and return that frame."""
    around = server.url.replace("127.0.0.1", host) + "/index.html"
    page = browser.open(around, expected=lambda trouble: "uncaught" not in trouble)
    page.evaluate(FRAME, [test_page(server, **options), sandbox])
    return page.frames[1]


@pytest.mark.parametrize(("store", "api"), [("indexeddb", "Web Locks"), ("sqlite", "IndexedDB")])
def test_in_a_frame_of_another_site(
    store: str, api: str, start: Callable[[dict[str, object]], Browser], open_server: Server
) -> None:
    frame = framed(start(THIRD_PARTY_BLOCKED), open_server, "localhost", "", store=store)
    state, name, message = frame.evaluate(INIT)
    assert (state, name) == ("failed", "StoreError")
    assert message.startswith(f"Nothing can be kept here: the browser denies {api} to this page")
    assert [part for part in HELP if part not in message] == []


def test_where_all_data_are_blocked(start: Callable[[dict[str, object]], Browser], server: Server) -> None:
    page = start(ALL_BLOCKED).open(test_page(server))
    read = page.evaluate("durably.getRuns().catch(({ name, message }) => [name, message])")
    assert read[0] == "StoreError" and "the browser denies IndexedDB to this page" in read[1]
    state, name, message = page.evaluate(INIT)
    assert (state, name) == ("failed", "StoreError")
    assert [part for part in HELP if part not in message] == []


def test_in_a_sandboxed_frame(start: Callable[[dict[str, object]], Browser], open_server: Server) -> None:
    frame = framed(start({}), open_server, "127.0.0.1", "allow-scripts")
    state, name, message = frame.evaluate(INIT)
    assert (state, name) == ("failed", "DurablyError")
    assert "the browser denies workers to this page, because it is in a sandboxed frame" in message
    assert "add allow-same-origin" in message and "in a tab of its own" in message


def test_where_channels_are_denied(start: Callable[[dict[str, object]], Browser], server: Server) -> None:
    """As Firefox does where it blocks all data."""
    page = start({}).open(f"{server.url}/index.html")
    refused = """() => {
        window.BroadcastChannel = class {
            constructor() {
                throw new DOMException('The operation is insecure.', 'SecurityError');
            }
        };
        try {
            createDurably({ database: 'test', jobs: './jobs.py' });
        } catch ({ name, message }) {
            return [name, message];
        }
    }"""
    name, message = page.evaluate(refused)
    assert name == "StoreError" and "the browser denies BroadcastChannel to this page" in message
