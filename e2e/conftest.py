"""Fixtures: a built site behind a test server, and browsers on profiles of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, Playwright, sync_playwright

from durably_wasm.cli import commands
from e2e.browser import Browser
from e2e.engines import TABBED, Chromium, Engine, Tabbed
from e2e.server import Server

ROOT = Path(__file__).parent.parent

# The address of the one snapshot that is kept, as soon as there is one, and it is another than `known`.
KEPT = """async (known) => {
    for (const patience = AbortSignal.timeout(60_000); ; patience.throwIfAborted()) {
        const [record, ...others] = await (await caches.open('durably-snapshots')).keys();
        if (record && record.url !== known && others.length === 0) return record.url;
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}"""
FORGET_DATABASES = """async () => {
  await durably.stop();
  for (const { name } of await indexedDB.databases()) {
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = resolve;
      request.onblocked = request.onerror = reject;
    });
  }
}"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=4, help="how often test_kills kills the browser, on each store")
    parser.addoption("--rounds", type=int, default=6, help="how often test_leaders loses the leader, on each store")
    parser.addoption("--seed", type=int, default=1, help="what decides where these two do it")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cold: starts on an empty profile, where no snapshot of Python is kept")


def unless_here(engine: type[Engine]) -> pytest.MarkDecorator:
    """Mark a test that needs a browser engine which this machine may not have."""
    return pytest.mark.skipif(engine.version() is None, reason=f"{engine.__name__} is not installed")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Build a site from a source folder with the command line, as users do."""

    def build(source: Path) -> Path:
        dist = tmp_path_factory.mktemp("site") / "dist"
        built = CliRunner().invoke(commands, ["build", str(source), "--out", str(dist)], catch_exceptions=False)
        assert built.exit_code == 0, built.output
        return dist

    return build


@pytest.fixture(scope="session")
def site(build: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built test site, with the contract of the stores in it."""
    source = tmp_path_factory.mktemp("source") / "site"
    shutil.copytree(ROOT / "e2e/site", source)
    clauses = sorted((ROOT / "tests/contract").glob("*.py"))
    (source / "contract").mkdir()
    for clause in clauses:
        shutil.copy(clause, source / "contract")
    (source / "contract/files.json").write_text(json.dumps([clause.name for clause in clauses]))
    return build(source)


@pytest.fixture(scope="session")
def demo_site(build: Callable[[Path], Path]) -> Path:
    """The built demo."""
    return build(ROOT / "web/demo")


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], Server]]:
    """Serve a folder until the session ends."""
    servers: list[Server] = []

    def serve(folder: Path) -> Server:
        servers.append(Server(folder))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(serve: Callable[[Path], Server], site: Path) -> Server:
    """The test site's server."""
    return serve(site)


@pytest.fixture(autouse=True)
def begin_anew(request: pytest.FixtureRequest) -> None:
    """Let nothing of the test before be in the test site's journal: its runs may have had the same labels."""
    if "server" in request.fixturenames:
        request.getfixturevalue("server").begin_anew()


@pytest.fixture
def altered(site: Path, serve: Callable[[Path], Server], tmp_path: Path) -> Callable[..., Server]:
    """Serve a copy of the site in which one file has other contents, or is missing."""

    def altered(file: str, contents: bytes | None) -> Server:
        copy = tmp_path / "altered"
        shutil.copytree(site, copy)
        path = next(copy.glob(file))
        path.unlink() if contents is None else path.write_bytes(contents)
        return serve(copy)

    return altered


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def warm(playwright: Playwright, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Make profiles on which the test site starts from a snapshot of Python; nothing else is stored there."""
    template = tmp_path_factory.mktemp("warm") / "profile"
    browser = Browser(playwright, template)
    page = browser.open(test_page(server, database="template"))
    page.evaluate("durably.init()")
    page.evaluate(KEPT)
    page.evaluate(FORGET_DATABASES)
    browser.close()
    assert browser.troubles == []

    def warm(profile: Path) -> None:
        shutil.copytree(template, profile, ignore=shutil.ignore_patterns("Singleton*"))

    return warm


@pytest.fixture
def profile(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """This test's profile: a warm one if the test is on the test site, unless it is marked `cold`."""
    profile = tmp_path / "profile"
    if "server" in request.fixturenames and request.node.get_closest_marker("cold") is None:
        request.getfixturevalue("warm")(profile)
    yield profile
    shutil.rmtree(profile, ignore_errors=True)  # pytest would keep it, and it is large


@pytest.fixture
def launch(playwright: Playwright, profile: Path) -> Iterator[Callable[..., Browser]]:
    """Launch browsers on this test's profile; at the end, nothing may have gone wrong unnoticed in any."""
    browsers: list[Browser] = []

    def launch(**options: Any) -> Browser:
        browsers.append(Browser(playwright, profile, **options))
        return browsers[-1]

    yield launch
    for browser in browsers:
        browser.close()
    assert [trouble for browser in browsers for trouble in browser.troubles] == []


@pytest.fixture(scope="session")
def start(playwright: Playwright, warm: Callable[[Path], None]) -> Callable[[type[Engine], Path], Engine]:
    """Start a browser engine on a profile directory, a new one or not. Whoever starts it kills it."""

    def start(engine: type[Engine], profile: Path) -> Engine:
        if engine is not Chromium:
            return engine(profile)
        if not profile.exists():
            warm(profile)
        return Chromium(profile, playwright)

    return start


@pytest.fixture(params=[pytest.param(engine, id=engine.name, marks=unless_here(engine)) for engine in TABBED])
def tabbed(
    request: pytest.FixtureRequest, start: Callable[[type[Engine], Path], Engine], tmp_path: Path
) -> Iterator[Tabbed]:
    """Each browser engine in which tests can open several tabs, on a profile of its own."""
    profile = tmp_path / "profile"
    browser: Tabbed = start(request.param, profile)
    yield browser
    browser.kill()
    shutil.rmtree(profile, ignore_errors=True)
    assert browser.troubles == []


@pytest.fixture
def browser(launch: Callable[..., Browser]) -> Browser:
    return launch()


@pytest.fixture
def page(browser: Browser, server: Server) -> Page:
    """The test page with an engine on the database `test`, ready, and with its outbox open."""
    page = browser.open(test_page(server))
    page.evaluate("Promise.all([durably.init(), durably.rejectedCalls()])")
    return page


@pytest.fixture(scope="module")
def shared_page(
    playwright: Playwright, server: Server, warm: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """A ready test page for tests that leave nothing behind."""
    profile = tmp_path_factory.mktemp("shared") / "profile"
    warm(profile)
    browser = Browser(playwright, profile)
    page = browser.open(test_page(server))
    page.evaluate("durably.init()")
    yield page
    browser.close()
    assert browser.troubles == []


def test_page(server: Server, **options: object) -> str:
    """The test page's address; it opens an engine with these options as it loads."""
    return f"{server.url}/index.html?options={quote(json.dumps(options))}"


test_page.__test__ = False  # type: ignore[attr-defined]
