"""The page reads what is stored whatever Python does, and Python starts when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server
from e2e.test_outbox import OUTBOX, wait_until

RUNTIME = "durably/pyodide/pyodide.asm.wasm"
WORKER = "durably/worker/main.js"

READ = """async (id) => ({
    run: await durably.getRun(id),
    runs: await durably.getRuns(),
    steps: await durably.storage.getSteps(id),
    logs: await durably.storage.getLogs(id),
})"""
NOTHING = {"run": None, "runs": [], "steps": [], "logs": []}
ERROR = "({ name, message }) => ({ name, message })"
NEVER_IDLE = "window.requestIdleCallback = (work) => { window.becomeIdle = work; };"
KEEP_CONNECTIONS = """
window.connections = [];
const { open } = IDBFactory.prototype;
IDBFactory.prototype.open = function (...args) {
    const request = open.apply(this, args);
    request.addEventListener('success', () => connections.push(request.result));
    return request;
};"""
# Create the database as the first version of the app has left it.
CREATE_FIRST = """async () => {
    const { upgrade } = await import('./durably/shared/schema.js');
    await new Promise((resolve, reject) => {
        const request = indexedDB.open('test', 1);
        request.onupgradeneeded = () => upgrade(request.result, 0);
        request.onsuccess = () => resolve(request.result.close());
        request.onerror = reject;
    });
}"""


@pytest.fixture
def hold(server: Server) -> Iterator[Callable[[str], None]]:
    """Hold one of the site's files back, until `server.open_gate` or the test's end."""
    held: list[str] = []

    def hold(file: str) -> None:
        server.close_gate(file)
        held.append(file)

    yield hold
    for file in held:
        server.open_gate(file)


@pytest.fixture(params=["indexeddb", "sqlite", "fallback"])
def store(request: pytest.FixtureRequest, browser: Browser, site: Path) -> str:
    """Each store, and SQLite in a browser that cannot keep it."""
    if request.param != "fallback":
        return str(request.param)

    worker = (site / "durably/worker/main.js").read_text()
    body = f"{worker}\ndelete FileSystemFileHandle.prototype.createSyncAccessHandle;"
    browser.context.route("**/worker/main.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))
    return "sqlite"


def filled(browser: Browser, server: Server, store: str) -> dict[str, Any]:
    """Let two runs complete, close their tab, and return what was read there, which all is of the second."""
    page = browser.open(test_page(server, store=store, preserveSteps=True))
    read: dict[str, Any] = page.evaluate(
        f"""async () => {{
            const input = {{ list: [1.5, null, 'é'], snake_case: true }};
            const options = {{ labels: {{ of: 'pâté "x" \\u007f😀' }}, idempotencyKey: 'k' }};
            await durably.waitForRun((await durably.jobs.anything.trigger(input, options)).id);
            return ({READ})((await durably.jobs.count.triggerAndWait({{ label: 'filled', steps: 2 }})).id);
        }}"""
    )
    browser.context.new_page()  # a browser without a page ends
    page.close()
    return read


class TestReads:
    def test_are_answered_before_python_is_there(
        self, store: str, browser: Browser, server: Server, hold: Callable[[str], None]
    ) -> None:
        before = filled(browser, server, store)
        hold(RUNTIME)
        page = browser.open(test_page(server, store=store))

        assert page.evaluate(READ, before["run"]["id"]) == before
        listed = "(filter) => durably.getRuns(filter).then((runs) => runs.map(({ jobName }) => jobName))"
        assert page.evaluate(listed, {"labels": {"of": 'pâté "x" \x7f😀'}}) == ["anything"]
        assert page.evaluate(listed, {"labels": {"of": "x"}}) == []
        assert page.evaluate(listed, {"status": "completed", "limit": 1, "offset": 1}) == ["anything"]
        assert page.evaluate(listed, {"jobName": ["count", "spin"], "status": ["failed", "completed"]}) == ["count"]
        assert page.evaluate("states.every(({ state }) => state === 'starting')")
        server.open_gate(RUNTIME)
        page.evaluate("durably.init()")
        assert page.evaluate(READ, before["run"]["id"]) == before

    def test_are_answered_in_a_tab_that_follows_one_that_boots(
        self, store: str, browser: Browser, server: Server, hold: Callable[[str], None]
    ) -> None:
        before = filled(browser, server, store)
        hold(RUNTIME)
        browser.open(test_page(server, store=store)).wait_for_function("states.length > 0")
        follower = browser.open(test_page(server, store=store))

        assert follower.evaluate(READ, before["run"]["id"]) == before
        follower.wait_for_function("durably.state === 'follower'")

    def test_find_nothing_before_there_is_a_database(
        self, store: str, browser: Browser, server: Server, hold: Callable[[str], None]
    ) -> None:
        hold(RUNTIME)
        page = browser.open(test_page(server, store=store))

        assert page.evaluate(READ, "nobody") == NOTHING
        assert page.evaluate(f"durably.waitForRun('nobody').catch({ERROR})")["name"] == "NotFoundError"
        assert (
            page.evaluate(f"durably.subscribe('nobody').getReader().read().catch({ERROR})")["name"] == "NotFoundError"
        )

    def test_find_what_was_just_triggered(self, store: str, browser: Browser, server: Server) -> None:
        leader = browser.open(test_page(server, store=store))
        leader.evaluate("durably.init()")
        follower = browser.open(test_page(server, store=store))
        for tab in (leader, follower):
            found = tab.evaluate(
                """async () => {
                    const found = [];
                    for (let n = 0; n < 20; n++) {
                        const { id } = await durably.jobs.spin.trigger(1);
                        found.push((await durably.getRun(id))?.id === id);
                        found.push((await durably.getRuns({ limit: 1 }))[0].id === id);
                    }
                    return found;
                }"""
            )
            assert found == [True] * 40

    def test_are_answered_while_python_computes(self, browser: Browser, server: Server) -> None:
        leader = browser.open(test_page(server))
        leader.evaluate("durably.init()")
        follower = browser.open(test_page(server))
        server.close_gate("computing")
        run = leader.evaluate("durably.jobs.blocked.trigger('computing')")
        server.wait_for("computing")

        reads = [tab.evaluate(READ, run["id"]) for tab in (leader, follower)]
        server.open_gate("computing")

        for read in reads:
            assert (read["run"]["status"], [step["name"] for step in read["steps"]]) == ("leased", ["before"])
        assert leader.evaluate("(id) => durably.waitForRun(id)", run["id"])["status"] == "completed"

    @pytest.mark.parametrize(
        ("filter", "message"),
        [
            ({"colour": "red"}, "Unknown filter colour; there are: status, jobName, labels, limit, offset"),
            (
                {"status": ["pending", "done"]},
                'status must be one of pending, leased, completed, failed, cancelled, not "done"',
            ),
            ({"status": 1}, "status must be text or a list of texts, not 1"),
            ({"jobName": [None]}, "jobName must be text, not null"),
            ({"labels": ["a"]}, 'labels must be a mapping of text to text, not ["a"]'),
            ({"labels": {"a": 1}}, 'labels must be a mapping of text to text, not {"a":1}'),
            ({"limit": -1}, "limit must be an integer of at least 0, not -1"),
            ({"limit": True}, "limit must be an integer of at least 0, not true"),
            ({"offset": 1.5}, "offset must be an integer of at least 0, not 1.5"),
        ],
    )
    def test_refuse_a_wrong_filter(self, filter: dict[str, Any], message: str, shared_page: Page) -> None:
        error = shared_page.evaluate(f"(filter) => durably.getRuns(filter).catch({ERROR})", filter)
        assert error == {"name": "ValidationError", "message": message}

    def test_of_what_is_no_json_hide_no_other(self, page: Page) -> None:
        damaged = page.evaluate("durably.jobs.anything.triggerAndWait('damaged').then(({ id }) => id)")
        page.evaluate("durably.jobs.anything.triggerAndWait('whole')")
        page.evaluate(
            """async (runId) => {
              const open = indexedDB.open('test');
              await new Promise((resolve) => (open.onsuccess = resolve));
              const change = open.result.transaction('payloads', 'readwrite');
              change.objectStore('payloads').put({ runId, kind: 'output', text: '{' });
              await new Promise((resolve) => (change.oncomplete = resolve));
              open.result.close();
            }""",
            damaged,
        )

        whole, other = page.evaluate("durably.getRuns()")

        assert (whole["output"], "decodeError" in whole) == ("whole", False)
        assert (other["input"], other["output"]) == ('"damaged"', "{")
        assert "SyntaxError" in other["decodeError"]

    def test_take_what_is_absent_or_empty_for_everything(self, shared_page: Page) -> None:
        everything = (
            "{ status: undefined, jobName: [], labels: { a: undefined }, limit: null, offset: null, other: null }"
        )
        assert shared_page.evaluate(f"durably.getRuns({everything})") == shared_page.evaluate("durably.getRuns()")


class TestDatabase:
    """What becomes of the page's own connection, whose database is the engine's."""

    def test_is_not_created(self, browser: Browser, server: Server, hold: Callable[[str], None]) -> None:
        hold(WORKER)
        page = browser.open(test_page(server))

        assert page.evaluate(READ, "nobody") == NOTHING
        page.evaluate("durably.rejectedCalls()")
        assert page.evaluate("indexedDB.databases().then((all) => all.map(({ name }) => name))") == [
            "durably:test:outbox"
        ]

    def test_that_is_closed_is_opened_again(self, browser: Browser, server: Server) -> None:
        browser.context.add_init_script(KEEP_CONNECTIONS)
        page = browser.open(test_page(server))
        page.evaluate("durably.jobs.anything.triggerAndWait(1)")
        before = page.evaluate("durably.getRuns()")
        page.evaluate("connections.forEach((connection) => connection.close())")
        assert page.evaluate("durably.getRuns()") == before

    @pytest.mark.parametrize("change", ["deleteDatabase('test')", "open('test', 99)"])
    def test_is_let_go_of(self, change: str, browser: Browser, server: Server, hold: Callable[[str], None]) -> None:
        page = browser.open(f"{server.url}/index.html")
        page.evaluate(CREATE_FIRST)
        hold(WORKER)
        page.evaluate("open()")
        assert page.evaluate("durably.getRuns()") == []

        page.evaluate(
            f"""() => new Promise((resolve, reject) => {{
                const request = indexedDB.{change};
                request.onsuccess = () => resolve(request.result?.close());
                request.onblocked = request.onerror = reject;
            }})"""
        )

        error = page.evaluate(f"durably.getRuns().catch({ERROR})")
        assert error["name"] == "StoreError"
        assert ("was deleted" if "delete" in change else "newer version of this app") in error["message"]

    def test_of_an_older_version_is_waited_for(
        self, altered: Callable[..., Server], browser: Browser, site: Path
    ) -> None:
        schema = (site / "durably/shared/schema.js").read_bytes()
        server = altered("durably/shared/schema.js", schema.replace(b"SCHEMA_VERSION = 1;", b"SCHEMA_VERSION = 2;"))
        page = browser.open(f"{server.url}/index.html")
        page.evaluate(CREATE_FIRST)
        server.close_gate(WORKER)
        page.evaluate("open()")
        page.evaluate("() => { window.read = durably.getRuns(); }")
        assert page.evaluate("durably.rejectedCalls()") == []
        assert page.evaluate("Promise.race([read, 'waits'])") == "waits"
        server.open_gate(WORKER)
        assert page.evaluate("read") == []

    def test_of_another_schema_waits_for_python_on_sqlite(
        self, altered: Callable[..., Server], browser: Browser, site: Path
    ) -> None:
        reads = (site / "durably/sql/reads.sql").read_bytes()
        server = altered("durably/sql/reads.sql", reads.replace(b"-- schema: 1", b"-- schema: 2"))
        page = browser.open(test_page(server, store="sqlite"))
        page.evaluate("durably.jobs.anything.triggerAndWait(1)")
        server.close_gate(RUNTIME)
        page.reload()
        page.wait_for_function("states.at(-1)?.stage === 'runtime'")
        page.evaluate("() => { window.read = durably.getRuns().then(([run]) => [run.status, states.at(-1).stage]); }")
        server.open_gate(RUNTIME)
        assert page.evaluate("read") == ["completed", "jobs"]  # the stage in which Python brings it up to date


class TestBoot:
    @pytest.fixture
    def busy(self, browser: Browser) -> Browser:
        """A browser whose pages are never idle, but by `becomeIdle()`."""
        browser.context.add_init_script(NEVER_IDLE)
        return browser

    def test_waits_until_the_page_is_idle(self, store: str, busy: Browser, server: Server) -> None:
        page = busy.open(test_page(server, store=store))
        page.wait_for_function("states.length > 0")
        assert page.evaluate(READ, "nobody") == NOTHING
        assert page.evaluate("states.map(({ stage }) => stage)") == [None]
        page.evaluate("becomeIdle()")
        page.wait_for_function("durably.state === 'leader'")

    def test_is_demanded_by_a_call(self, store: str, busy: Browser, server: Server) -> None:
        page = busy.open(test_page(server, store=store))
        assert page.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7

    def test_is_demanded_by_a_call_of_another_tab(self, store: str, busy: Browser, server: Server) -> None:
        leader = busy.open(test_page(server, store=store))
        leader.wait_for_function("states.length > 0")
        follower = busy.open(test_page(server, store=store))
        follower.wait_for_function("durably.state === 'follower'")
        assert follower.evaluate("durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
        assert leader.evaluate("durably.state") == "leader"

    def test_is_at_once_where_a_run_waits(self, store: str, busy: Browser, server: Server) -> None:
        page = busy.open(test_page(server, store=store))
        label = f"waits-{id(store)}"
        server.close_gate(f"{label}/0")
        page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 1 })", label)
        server.wait_for(f"{label}/0")
        page.reload()
        page.wait_for_function("durably.state === 'leader'")
        server.wait_for(f"{label}/0", times=2)
        server.open_gate(f"{label}/0")

    def test_is_at_once_where_a_call_waits(
        self, store: str, busy: Browser, server: Server, hold: Callable[[str], None]
    ) -> None:
        hold(WORKER)
        page = busy.open(test_page(server, store=store))
        page.evaluate("() => { durably.jobs.anything.trigger(1); }")
        wait_until(page, f"(await ({OUTBOX})()).length === 1")
        server.open_gate(WORKER)
        page.goto(page.url)
        page.wait_for_function("events.some(({ type }) => type === 'run:complete')")

    def test_is_at_once_in_the_tab_that_takes_over(self, store: str, busy: Browser, server: Server) -> None:
        leader = busy.open(test_page(server, store=store))
        leader.evaluate("durably.init()")
        heir = busy.open(test_page(server, store=store))
        heir.wait_for_function("durably.state === 'follower'")
        leader.close()
        heir.wait_for_function("durably.state === 'leader'")
