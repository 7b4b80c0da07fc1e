"""IndexedDB fails in the ways that it does: the run goes on where it can, and where it cannot, the page is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

ONCE = {0: 1, 1: 1, 2: 1, 3: 1}
ERRORS = "events.filter(({ type }) => type === 'worker:error').map(({ context, error }) => ({ context, error }))"
WAIT = "(id) => durably.waitForRun(id)"

# In the worker, before the engine: connections that a test can end, and checkpoints that it can make fail.
FAULTY = b"""{
const connections = [];
const { open } = IDBFactory.prototype;
IDBFactory.prototype.open = function (...args) {
  const request = open.apply(this, args);
  request.addEventListener('success', () => connections.push(request.result));
  return request;
};

let checkpointFails = null;
const { put } = IDBObjectStore.prototype;
IDBObjectStore.prototype.put = function (record) {
  if (this.name === 'steps' && checkpointFails !== null) {
    fail(this.transaction, checkpointFails === 'committed');
    checkpointFails = null;
  }
  return put.call(this, record);
};

function fail(transaction, committed) {
  const { onabort } = transaction;
  const error = new DOMException('Connection to Indexed Database server lost.', 'UnknownError');
  Object.defineProperty(transaction, 'error', { value: error });
  transaction.oncomplete = () => (faults.close(), onabort.call(transaction));
  if (!committed) transaction.commit = () => (faults.close(), transaction.abort());
}

const faults = {
  close: () => connections.forEach((connection) => connection.close()),
  lose: () => connections.forEach((connection) => (connection.close(), connection.dispatchEvent(new Event('close')))),
  committed: () => (checkpointFails = 'committed'),
  aborted: () => (checkpointFails = 'aborted'),
};
const channel = new BroadcastChannel('faults');
channel.onmessage = ({ data }) => (faults[data]?.(), channel.postMessage(durability));

let durability = null;
const { transaction } = IDBDatabase.prototype;
IDBDatabase.prototype.transaction = function (...args) {
  const opened = transaction.apply(this, args);
  if (opened.mode === 'readwrite') ({ durability } = opened);
  return opened;
};
}
"""

CAUSE = """(fault) => new Promise((resolve) => {
    const channel = new BroadcastChannel('faults');
    channel.onmessage = ({ data }) => (channel.close(), resolve(data));
    channel.postMessage(fault);
})"""


@pytest.fixture
def faulty(altered: Callable[..., Server], site: Path) -> Server:
    """The test site, with a worker whose database can be made to fail."""
    return altered("durably/worker/main.js", FAULTY + (site / "durably/worker/main.js").read_bytes())


def started(page: Page, server: Server, label: str, gate: int = 2) -> str:
    """Trigger a run of four steps and return its id when it waits in one of them."""
    server.close_gate(f"{label}/{gate}")
    run: dict[str, str] = page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 4 })", label)
    server.wait_for(f"{label}/{gate}")
    return run["id"]


def steps_of(server: Server, label: str) -> dict[int, int]:
    return {int(entry.removeprefix(f"{label}/")): times for entry, times in server.journal(label).items()}


class Quota:
    """The room that the browser gives an origin. Chromium holds on to it as long as this object lives."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self._origin = server.url
        self._session = browser.context.new_cdp_session(browser.context.pages[0])

    def limit(self, size: int) -> None:
        self._session.send("Storage.overrideQuotaForOrigin", {"origin": self._origin, "quotaSize": size})

    def lift(self) -> None:
        self._session.send("Storage.overrideQuotaForOrigin", {"origin": self._origin})


class TestConnection:
    @pytest.mark.parametrize("fault", ["close", "lose"])
    def test_that_dies_is_replaced_unnoticed(self, fault: str, browser: Browser, faulty: Server) -> None:
        page = browser.open(test_page(faulty))
        run = started(page, faulty, fault)
        page.evaluate(CAUSE, fault)
        assert page.evaluate("(id) => durably.getRun(id)", run)["status"] == "leased"
        page.evaluate(CAUSE, fault)
        faulty.open_gate(f"{fault}/2")
        assert page.evaluate(WAIT, run)["output"] == {"total": 14}
        assert steps_of(faulty, fault) == ONCE
        assert page.evaluate(ERRORS) == []

    @pytest.mark.parametrize("outcome", ["committed", "aborted"])
    def test_that_dies_in_a_checkpoint_costs_no_step(self, outcome: str, browser: Browser, faulty: Server) -> None:
        page = browser.open(test_page(faulty))
        run = started(page, faulty, outcome)
        page.evaluate(CAUSE, outcome)
        faulty.open_gate(f"{outcome}/2")
        ended = page.evaluate(WAIT, run)
        assert ended["output"] == {"total": 14} and ended["leaseGeneration"] == 1
        assert steps_of(faulty, outcome) == ONCE
        [error] = page.evaluate(ERRORS)
        assert error["context"] == "store" and "server lost" in error["error"]


class TestDamage:
    def test_is_told_when_the_browser_deletes_what_it_finds_damaged(
        self, launch: Callable[..., Browser], profile: Path, server: Server
    ) -> None:
        browser = launch()
        page = browser.open(test_page(server))
        page.evaluate("durably.jobs.anything.triggerAndWait(1)")
        browser.kill()
        damage_indexeddb(profile)

        page = launch().open(test_page(server))
        page.evaluate("durably.init()")

        notice = page.evaluate("states.at(-1).notice")
        assert notice["name"] == "StoreLost" and "checksum mismatch" in notice["message"]
        assert page.evaluate("durably.getRuns()") == []
        assert page.evaluate("durably.jobs.anything.triggerAndWait(2).then(({ output }) => output)") == 2


def damage_indexeddb(profile: Path) -> None:
    """Overwrite a part of what Chromium has written to its log of a site's databases."""
    [log] = profile.glob("**/IndexedDB/*.leveldb/*.log")
    written = bytearray(log.read_bytes())
    middle = len(written) // 2
    written[middle : middle + 64] = b"?" * 64
    log.write_bytes(written)


@pytest.mark.cold  # a snapshot takes more room than there is
class TestFullStore:
    """There is room for a megabyte, and the second of three steps has a larger result."""

    ROOM, LARGE = 1_000_000, 2_000_000
    SIZES: ClassVar = [10, LARGE, 10]

    @pytest.fixture
    def quota(self, browser: Browser, server: Server) -> Quota:
        return Quota(browser, server)

    def opened_indexeddb(self, quota: Quota, browser: Browser, server: Server) -> Page:
        quota.limit(self.ROOM)  # before: Chromium asks how much room there is only when that much has been written
        return browser.open(test_page(server))

    def opened_sqlite(self, quota: Quota, browser: Browser, server: Server) -> Page:
        page = browser.open(test_page(server, store="sqlite"))
        page.evaluate("durably.init()")
        quota.limit(self.ROOM)  # afterwards: empty files already take a megabyte each
        return page

    def held(self, page: Page, label: str) -> str:
        """Trigger the run and return its id when it waits for room."""
        run: dict[str, str] = page.evaluate(
            "(input) => durably.jobs.keep.trigger(input)", {"label": label, "sizes": self.SIZES}
        )
        page.wait_for_function(f"{ERRORS}.length > 0")
        return run["id"]

    @pytest.mark.parametrize("opened", [opened_indexeddb, opened_sqlite])
    def test_holds_a_run_until_there_is_room(
        self, opened: Callable[..., Page], quota: Quota, browser: Browser, server: Server
    ) -> None:
        label = opened.__name__
        page = opened(self, quota, browser, server)
        run = self.held(page, label)
        refused = page.evaluate(
            """(size) => {
                const bytes = Uint8Array.from({ length: size / 2 }, () => Math.random() * 256);
                const input = bytes.toHex();
                return durably.jobs.anything.trigger(input).catch(({ name, isFull }) => ({ name, isFull }));
            }""",
            self.LARGE,
        )
        assert refused == {"name": "StoreError", "isFull": True}
        assert page.evaluate("(id) => durably.getRun(id)", run)["status"] == "leased"
        quota.lift()
        assert page.evaluate(WAIT, run)["output"] == sum(self.SIZES)
        assert steps_of(server, label) == {0: 1, 1: 1, 2: 1}
        [error] = page.evaluate(ERRORS)
        assert error["context"] == "store" and "no room left" in error["error"]

    def test_is_told_where_not_even_the_files_of_sqlite_fit(
        self, quota: Quota, browser: Browser, server: Server
    ) -> None:
        quota.limit(1)
        page = browser.open(test_page(server, store="sqlite"))
        error = page.evaluate("durably.init().catch(({ name, message, isFull }) => ({ name, message, isFull }))")
        assert (error["name"], error["isFull"]) == ("StoreError", True)
        assert "no room left for the SQLite database" in error["message"]

    @pytest.mark.parametrize(
        ("name", "message", "is_full"),
        [
            ("QuotaExceededError", "", True),
            ("AbortError", "QuotaExceededError An attempt was made to add something that exceeded the quota", True),
            ("UnknownError", "Encountered full disk while opening backing store for indexedDB.open", True),
            ("AbortError", "The transaction was aborted", False),
            ("ConstraintError", "A key exists", False),
        ],
    )
    def test_is_recognised_however_the_browser_says_it(
        self, shared_page: Page, name: str, message: str, is_full: bool
    ) -> None:
        recognised = """async ([name, message]) => {
            const { isLoss, refusal } = await import('./durably/shared/database.js');
            const error = new DOMException(message, name);
            const wrapped = new DOMException('The transaction was aborted', 'AbortError');
            const refusals = [refusal('x', error), refusal('x', wrapped, error), refusal('x', null, error)];
            return { full: refusals.map(({ isFull }) => isFull), loss: isLoss(error) };
        }"""
        assert shared_page.evaluate(recognised, [name, message]) == {
            "full": [is_full] * 3,
            "loss": not is_full and name == "AbortError",
        }

    def test_keeps_a_run_for_the_next_page(self, quota: Quota, browser: Browser, server: Server) -> None:
        page = self.opened_indexeddb(quota, browser, server)
        run = self.held(page, "kept-full")
        page.reload()
        page.wait_for_function(f"{ERRORS}.length > 0")
        quota.lift()
        ended = page.evaluate(WAIT, run)
        assert ended["output"] == sum(self.SIZES) and ended["leaseGeneration"] == 2
        assert steps_of(server, "kept-full") == {0: 1, 1: 2, 2: 1}


class TestDatabase:
    """The database goes, or changes hands, while an engine works on it."""

    @staticmethod
    def failure(page: Page) -> str:
        page.wait_for_function("durably.state === 'failed'")
        assert page.evaluate("states.at(-1).error.name") == "StoreError"
        message: str = page.evaluate("states.at(-1).error.message")
        assert page.evaluate("durably.getRuns().catch(({ message }) => message)") == message
        return message

    @pytest.mark.parametrize(("store", "types"), [("indexeddb", "indexeddb"), ("indexeddb", "all"), ("sqlite", "all")])
    def test_that_is_wiped_ends_the_engine_at_once(
        self, store: str, types: str, browser: Browser, server: Server
    ) -> None:
        never = 3_600_000
        page = browser.open(test_page(server, store=store, pollingIntervalMs=never, leaseRenewIntervalMs=never))
        run = started(page, server, f"wiped-{store}-{types}")
        page.evaluate("(id) => { window.ended = durably.waitForRun(id).catch(({ name }) => name) }", run)
        page.evaluate(
            """async (id) => {
                const reader = durably.subscribe(id).getReader();
                await reader.read();
                const readOn = async () => { while (!(await reader.read()).done); };
                window.read = readOn().catch(({ name }) => name);
            }""",
            run,
        )
        browser.context.new_cdp_session(page).send(
            "Storage.clearDataForOrigin", {"origin": server.url, "storageTypes": types}
        )
        assert "reload the page" in self.failure(page)
        assert page.evaluate("ended") == page.evaluate("read") == "StoreError"
        server.open_gate(f"wiped-{store}-{types}/2")
        assert page.evaluate("indexedDB.databases()") == []
        page.reload()
        page.evaluate("durably.init()")
        assert page.evaluate("durably.getRuns()") == []
        assert page.evaluate("states.at(-1).epoch") == 1

    def test_that_is_deleted_ends_the_engine(self, page: Page) -> None:
        page.evaluate(
            """() => new Promise((resolve, reject) => {
                const request = indexedDB.deleteDatabase('test');
                request.onsuccess = resolve;
                request.onblocked = request.onerror = reject;
            })"""
        )
        assert "is being deleted; reload the page" in self.failure(page)

    def test_that_a_newer_version_wants_is_left_to_it(self, page: Page) -> None:
        page.evaluate(
            """() => new Promise((resolve, reject) => {
                const request = indexedDB.open('test', 99);
                request.onsuccess = () => resolve(request.result.close());
                request.onblocked = request.onerror = reject;
            })"""
        )
        assert "a newer version of this app takes it over; reload the page" in self.failure(page)

    def test_that_is_emptied_ends_the_engine_and_stays_empty(self, page: Page) -> None:
        self.change(page, "clear()")
        assert "Epoch 1 is over: the database was emptied" in self.failure(page)

    def test_of_another_epoch_ends_the_engine_and_the_next_one_answers(self, page: Page) -> None:
        self.change(page, "put({ key: 'epoch', value: 9 })")
        assert page.evaluate("durably.jobs.anything.triggerAndWait([1]).then(({ output }) => output)") == [1]
        assert page.evaluate("states.filter(({ stage }) => stage === 'ready').map(({ epoch }) => epoch)") == [1, 10]
        assert page.evaluate("states.some(({ state }) => state === 'failed')") is False

    @staticmethod
    def change(page: Page, change: str) -> None:
        page.evaluate(
            f"""() => new Promise((resolve, reject) => {{
                const request = indexedDB.open('test');
                request.onsuccess = () => {{
                    const transaction = request.result.transaction('meta', 'readwrite');
                    transaction.objectStore('meta').{change};
                    transaction.oncomplete = () => resolve(request.result.close());
                    transaction.onabort = reject;
                }};
            }})"""
        )

    def test_that_an_older_tab_keeps_is_waited_for(
        self, altered: Callable[..., Server], browser: Browser, site: Path
    ) -> None:
        schema = (site / "durably/shared/schema.js").read_bytes()
        newer = schema.replace(b"SCHEMA_VERSION = 1;", b"SCHEMA_VERSION = 2;")
        assert newer != schema
        server = altered("durably/shared/schema.js", newer)
        old = browser.open(f"{server.url}/index.html")
        old.evaluate(
            """() => new Promise((resolve, reject) => {
                const request = indexedDB.open('test', 1);
                request.onerror = reject;
                request.onsuccess = () => resolve((window.kept = request.result) && null);
            })"""
        )
        page = browser.open(test_page(server))
        page.wait_for_function("states.some(({ notice }) => notice)")
        notice = page.evaluate("states.at(-1).notice")
        assert notice["name"] == "StoreError"
        assert f'Another tab of {server.url} has the database "test" open in an older version' in notice["message"]
        assert page.evaluate("durably.state") == "starting"
        old.close()
        page.wait_for_function("states.at(-1).notice === null")


class TestStorage:
    @pytest.mark.parametrize(("given", "durability"), [({}, "relaxed"), ({"durability": "strict"}, "strict")])
    def test_is_as_durable_as_was_asked_for(
        self, given: dict[str, str], durability: str, browser: Browser, faulty: Server
    ) -> None:
        page = browser.open(test_page(faulty, **given))
        page.evaluate("durably.init()")
        assert page.evaluate(CAUSE, "none") == durability

    def test_is_estimated(self, shared_page: Page) -> None:
        estimate = shared_page.evaluate("durably.storage.estimate()")
        assert 0 < estimate["usage"] < estimate["quota"]

    def test_is_persistent_once_the_browser_grants_it(self, browser: Browser, page: Page, server: Server) -> None:
        assert page.evaluate("states.at(-1).store.persistence") == "best-effort"
        browser.context.new_cdp_session(page).send(
            "Browser.grantPermissions", {"origin": server.url, "permissions": ["durableStorage"]}
        )
        assert page.evaluate("durably.storage.persist()") is True
        assert page.evaluate("states.at(-1)") == page.evaluate("states.at(-2)") | {
            "store": {"kind": "indexeddb", "persistence": "persistent"},
            "at": page.evaluate("states.at(-1).at"),
        }
        page.reload()
        page.evaluate("durably.init()")
        assert page.evaluate("states.at(-1).store.persistence") == "persistent"

    def test_that_cannot_be_asked_about_is_unknown(self, page: Page) -> None:
        page.evaluate("Object.defineProperty(navigator, 'storage', { value: undefined })")
        assert page.evaluate("durably.storage.estimate()") == {"usage": None, "quota": None}
        assert page.evaluate("durably.storage.persist()") is False

    def test_of_a_private_window_is_told_where_the_browser_shows_it(
        self, altered: Callable[..., Server], browser: Browser, site: Path
    ) -> None:
        refuse = (
            b"StorageManager.prototype.getDirectory = async () => { throw new DOMException('', 'SecurityError'); };\n"
        )
        server = altered("durably/worker/main.js", refuse + (site / "durably/worker/main.js").read_bytes())
        page = browser.open(test_page(server))
        page.evaluate("durably.init()")
        assert page.evaluate("states.at(-1).store.persistence") == "memory"
