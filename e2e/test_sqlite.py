"""What is particular to SQLite in the browser: its file, who holds it, and what happens where it cannot be."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

OUTCOME = "(promise) => promise.then((value) => ({ value }), ({ name, message }) => ({ name, message }))"
EXPORT = """async () => {
  const file = await durably.exportDatabase();
  const letters = Array.from(new Uint8Array(await file.arrayBuffer()), (byte) => String.fromCharCode(byte));
  return { name: file.name, type: file.type, base64: btoa(letters.join('')) };
}"""
# Let garbage be collected in each turn of a worker's event loop.
COLLECT = """
const { port1, port2 } = new MessageChannel();
port1.onmessage = () => {
  gc();
  port2.postMessage(null);
};
port2.postMessage(null)"""
IMPORT = f"""(text) => ({OUTCOME})(
  durably.importDatabase(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]))
)"""


def opened(browser: Browser, server: Server, store: str = "sqlite", **options: Any) -> Page:
    """Open the test page and wait until its engine is ready."""
    page = browser.open(test_page(server, store=store, **options))
    page.evaluate("durably.init()")
    return page


def outcome(page: Page, expression: str) -> dict[str, Any]:
    """Return {value} or {name, message} of a promise."""
    result: dict[str, Any] = page.evaluate(f"({OUTCOME})({expression})")
    return result


def count(page: Page, label: str) -> dict[str, Any]:
    """Trigger a run of two steps and wait for it."""
    run: dict[str, Any] = page.evaluate(
        "async (label) => durably.waitForRun((await durably.jobs.count.trigger({ label, steps: 2 })).id)", label
    )
    return run


def exported(page: Page) -> bytes:
    return base64.b64decode(page.evaluate(EXPORT)["base64"])


def imported(page: Page, file: bytes) -> dict[str, Any]:
    result: dict[str, Any] = page.evaluate(IMPORT, base64.b64encode(file).decode())
    return result


def runs(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("durably.getRuns()")
    return found


def state(page: Page) -> dict[str, Any]:
    last: dict[str, Any] = page.evaluate("states.at(-1)")
    return last


class TestFile:
    def test_is_told_as_the_store(self, browser: Browser, server: Server) -> None:
        page = opened(browser, server)
        assert state(page)["store"] == {"kind": "sqlite", "persistence": "best-effort"}
        assert state(page)["notice"] is None

    def test_survives_the_browser(self, launch: Any, server: Server) -> None:
        browser = launch()
        before = count(opened(browser, server), "survives")
        browser.kill()
        page = opened(launch(), server)
        assert page.evaluate("(id) => durably.getRun(id)", before["id"]) == before

    def test_holds_a_batch_larger_than_sqlites_cache(self, launch: Any, server: Server) -> None:
        browser = launch()
        page = opened(browser, server)
        page.evaluate("""async () => {
          const { triggerItem } = await import('./durably/page/index.js');
          const keyOf = (number) => String((number * 7919) % 3000).padStart(1000, '-'); // all over the index
          const numbers = Array.from({ length: 3000 }, (_, number) => number);
          const items = numbers.map((number) => triggerItem({ number }, { idempotencyKey: keyOf(number) }));
          await durably.jobs.anything.batchTrigger(items);
        }""")
        browser.kill()  # so that the next one recovers what is in the log
        page = opened(launch(), server)
        numbers = page.evaluate("durably.getRuns().then((runs) => runs.map(({ input }) => input.number))")
        assert numbers == list(reversed(range(3000)))
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(exported(page))
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_every_transaction_is_written_with_its_last_page(self, shared_page: Page) -> None:
        unwritten = shared_page.evaluate("""async () => {
          const { WalWrites } = await import('./durably/worker/bridge/wal_writes.js');
          const frame = 24 + 4096;
          const isWhole = (frames) => {
            let written = 0;
            const log = new WalWrites((data) => ((written += data.length), 0));
            for (let number = 1; number <= frames; number++) {
              const header = new Uint8Array(24).fill(number === frames ? 1 : 0);
              log.write(header, (number - 1) * frame);
              log.write(new Uint8Array(4096), (number - 1) * frame + 24);
            }
            return written === frames * frame;
          };
          return Array.from({ length: 200 }, (_, index) => index + 1).filter((frames) => !isWhole(frames));
        }""")
        assert unwritten == []

    @pytest.mark.parametrize("files", [0, 1, 5])
    def test_opens_where_a_worker_died_while_it_made_the_files(
        self, browser: Browser, server: Server, files: int
    ) -> None:
        page = browser.open(f"{server.url}/index.html")
        page.evaluate(
            """async (files) => {
              let folder = await navigator.storage.getDirectory();
              for (const name of ['durably', 'test']) folder = await folder.getDirectoryHandle(name, { create: true });
              for (let file = 0; file < files; file++) await folder.getFileHandle(`file-${file}`, { create: true });
            }""",
            files,
        )
        page.goto(test_page(server, store="sqlite"))
        page.evaluate("durably.init()")
        assert count(page, f"after-{files}")["status"] == "completed"

    def test_opens_although_garbage_is_collected_meanwhile(self, launch: Any, server: Server) -> None:
        browser = launch(flags=["--js-flags=--expose-gc"])
        page = opened(browser, server)
        damage_workers(browser, COLLECT)
        page.reload()
        page.wait_for_function("durably.state === 'leader'")

    def test_is_waited_for_while_another_worker_holds_it(self, browser: Browser, server: Server) -> None:
        page = opened(browser, server)
        page.evaluate("durably.stop()")
        page.evaluate("""async () => {
          const source = `(async () => {
            let folder = await navigator.storage.getDirectory();
            for (const name of ['durably', 'test']) folder = await folder.getDirectoryHandle(name);
            const [[, file]] = await Array.fromAsync(folder.entries());
            const handle = await file.createSyncAccessHandle();
            onmessage = () => handle.close();
            postMessage('held');
          })()`;
          window.holder = new Worker(URL.createObjectURL(new Blob([source])));
          await new Promise((resolve) => (holder.onmessage = resolve));
        }""")
        page.evaluate("open({ store: 'sqlite' })")
        page.wait_for_function("states.some(({ notice }) => notice?.name === 'StoreBusy')")
        page.evaluate("holder.postMessage('let go')")
        page.evaluate("durably.init()")
        assert state(page)["notice"] is None
        assert state(page)["store"]["kind"] == "sqlite"


class TestFallback:
    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ("delete FileSystemFileHandle.prototype.createSyncAccessHandle", "no synchronous access to files"),
            (
                "navigator.storage.getDirectory = async () => { throw new DOMException('no', 'SecurityError') }",
                "SecurityError",
            ),
        ],
    )
    def test_is_indexeddb_with_a_notice(self, browser: Browser, server: Server, damage: str, reason: str) -> None:
        warnings: list[str] = []
        damage_workers(browser, damage)
        page = browser.open(test_page(server))
        page.evaluate("durably.stop()")
        page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
        page.evaluate("open({ store: 'sqlite' })")
        page.evaluate("durably.init()")
        assert state(page)["store"]["kind"] == "indexeddb"
        notice = state(page)["notice"]
        assert notice["name"] == "StoreFallback"
        assert reason in notice["message"] and "IndexedDB" in notice["message"]
        assert warnings == [notice["message"]]
        assert count(page, f"fallback-{len(reason)}")["status"] == "completed"

    def test_is_none_where_runs_lie_in_sqlite_already(self, browser: Browser, server: Server) -> None:
        page = opened(browser, server)
        count(page, "already")
        damage_workers(browser, "delete FileSystemFileHandle.prototype.createSyncAccessHandle")
        page.reload()
        error = outcome(page, "durably.init()")
        assert error["name"] == "StoreError"
        assert "lie in SQLite" in error["message"] and "no synchronous access" in error["message"]
        browser.context.unroute("**/worker/main.js")
        page.reload()
        page.evaluate("durably.init()")
        assert len(runs(page)) == 1


class TestExport:
    def test_is_a_file_that_sqlite_opens(self, browser: Browser, server: Server, tmp_path: Path) -> None:
        page = opened(browser, server)
        run = count(page, "exported")
        file = page.evaluate(EXPORT)
        assert (file["name"], file["type"]) == ("test.sqlite3", "application/vnd.sqlite3")
        path = tmp_path / file["name"]
        path.write_bytes(base64.b64decode(file["base64"]))
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert database.execute("SELECT id, status FROM runs").fetchall() == [(run["id"], "completed")]
        assert count(page, "after the export")["status"] == "completed"

    @pytest.mark.parametrize("call", ["exportDatabase()", "importDatabase(new Blob([]))"])
    def test_needs_sqlite(self, page: Page, call: str) -> None:
        error = outcome(page, f"durably.{call}")
        assert error["name"] == "StoreError"
        assert "store: 'sqlite'" in error["message"]


class TestImport:
    def test_puts_the_file_in_the_place_of_all_runs(self, browser: Browser, server: Server) -> None:
        page = opened(browser, server)
        kept = count(page, "kept")
        file = exported(page)
        count(page, "forgotten")
        assert imported(page, file) == {"value": None}
        assert runs(page) == [kept]
        assert [log["message"] for log in page.evaluate("(id) => durably.storage.getLogs(id)", kept["id"])]
        page.reload()
        page.evaluate("durably.init()")
        assert runs(page) == [kept]
        assert count(page, "after the import")["status"] == "completed"

    def test_resumes_the_runs_that_were_leased(self, browser: Browser, server: Server) -> None:
        page = opened(browser, server)
        server.close_gate("imported/1")
        run = page.evaluate("durably.jobs.count.trigger({ label: 'imported', steps: 2 })")
        server.wait_for("imported/1")
        file = exported(page)
        server.open_gate("imported/1")
        page.evaluate("(id) => durably.waitForRun(id)", run["id"])
        assert imported(page, file) == {"value": None}
        ended = page.evaluate("(id) => durably.waitForRun(id)", run["id"])
        assert (ended["status"], ended["leaseGeneration"]) == ("completed", 2)
        assert server.journal("imported") == {"imported/0": 1, "imported/1": 2}

    def test_is_refused_while_a_run_is_leased(self, browser: Browser, server: Server) -> None:
        page = opened(browser, server)
        file = exported(page)
        server.close_gate("leased/0")
        run = page.evaluate("durably.jobs.count.trigger({ label: 'leased', steps: 1 })")
        server.wait_for("leased/0")
        error = imported(page, file)
        assert error["name"] == "ConflictError"
        assert run["id"] in error["message"]
        server.open_gate("leased/0")
        assert page.evaluate("(id) => durably.waitForRun(id)", run["id"])["status"] == "completed"
        assert imported(page, file) == {"value": None}

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda file: b"name,city\n", "not a SQLite database"),
            (lambda file: b"", "not a SQLite database"),
            (lambda file: file[: len(file) // 2], "corrupt"),
            (lambda file: file[:4096] + bytes(len(file) - 4096), "corrupt"),
            (lambda file: file[:60] + (7).to_bytes(4) + file[64:], "version 7"),
        ],
    )
    def test_of_a_bad_file_leaves_all_as_it_is(
        self, browser: Browser, server: Server, damage: Any, reason: str
    ) -> None:
        page = opened(browser, server)
        run = count(page, f"bad-{reason}")
        error = imported(page, damage(exported(page)))
        assert error["name"] == "StoreError"
        assert reason in error["message"]
        assert runs(page) == [run]
        assert imported(page, exported(page)) == {"value": None}


def damage_workers(browser: Browser, code: str) -> None:
    """Run code in each engine's worker before anything else happens there."""

    def damaged(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=f"{response.text()}\n{code};")

    browser.context.route("**/worker/main.js", damaged)
