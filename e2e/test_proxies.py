"""Nothing that crosses between Python and JavaScript is left alive: proxies are counted before and after work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import ROOT
from e2e.server import Server


@pytest.fixture(scope="session")
def counting_server(
    build: Callable[[Path], Path], serve: Callable[[Path], Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """The test page with the benchmark's jobs, one of which counts proxies."""
    source = tmp_path_factory.mktemp("counting") / "site"
    source.mkdir()
    shutil.copy(ROOT / "e2e/site/index.html", source)
    shutil.copy(ROOT / "e2e/bench/site/jobs.py", source)
    return serve(build(source))


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_runs_leave_no_proxies_behind(browser: Browser, counting_server: Server, store: str) -> None:
    options = quote(json.dumps({"store": store}))
    page = browser.open(f"{counting_server.url}/index.html?options={options}")
    page.evaluate("durably.init()")
    work(page)
    before = proxies(page)
    work(page)
    assert proxies(page) == before


def work(page: Page) -> None:
    """Execute runs of several steps, one by one and as a batch."""
    page.evaluate("""async () => {
        for (let run = 0; run < 5; run++) await durably.jobs.steps.triggerAndWait({ steps: 5 });
        const runs = await durably.jobs.steps.batchTrigger(Array(5).fill({ steps: 5 }));
        await Promise.all(runs.map(({ id }) => durably.waitForRun(id)));
    }""")


def proxies(page: Page) -> dict[str, int]:
    """Count the proxies of Python's objects, from the first call on, and of JavaScript's."""
    counts: dict[str, int] = page.evaluate("durably.jobs.memory.triggerAndWait().then(({ output }) => output)")
    return {kind: counts[kind] for kind in ("pyproxies", "jsproxies")}
