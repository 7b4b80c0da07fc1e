"""What the browser's databases refuse for ever fails one run, and a broken one ends the engine, which says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server

STORES = ["indexeddb", "sqlite"]
MEGABYTE = 1_000_000
ENDED = """(id) => durably.waitForRun(id).catch((error) => error).then(() => durably.getRun(id))"""
# In the worker, before the engine: a database without the object store of steps, as of a wrong schema.
MISSING = b"""{
const { objectStore } = IDBTransaction.prototype;
IDBTransaction.prototype.objectStore = function (name) {
  return objectStore.call(this, name === 'steps' ? 'missing' : name);
};
}
"""
TYPES = "events.map(({ type }) => type)"


def triggered(page: Page, job: str, input: object) -> str:
    run: dict[str, str] = page.evaluate("([job, input]) => durably.jobs[job].trigger(input)", [job, input])
    return run["id"]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("inside", ["a step", "the output"])
def test_a_value_that_is_too_large_fails_its_run_once(
    browser: Browser, server: Server, store: str, inside: str
) -> None:
    page = browser.open(test_page(server, store=store))
    run = triggered(page, "large", {"size": 400 * MEGABYTE, "inside": inside})
    other = triggered(page, "anything", "small")
    ended = page.evaluate(ENDED, run)
    assert (ended["status"], ended["leaseGeneration"]) == ("failed", 1)
    assert "characters are too many" in ended["error"] or "memory" in ended["error"].lower()
    assert page.evaluate(ENDED, other)["output"] == "small"
    assert page.evaluate(f"{TYPES}.filter((type) => type === 'step:fail').length") == (inside == "a step")
    assert page.evaluate("durably.state") == "leader"


@pytest.mark.parametrize("store", STORES)
def test_a_message_that_is_too_large_is_kept_in_part(browser: Browser, server: Server, store: str) -> None:
    page = browser.open(test_page(server, store=store))
    run = triggered(page, "large", {"size": 20 * MEGABYTE, "inside": "the error"})
    ended = page.evaluate(ENDED, run)
    assert (ended["status"], ended["errorType"]) == ("failed", "ValueError")
    assert "characters are left out" in ended["error"] and len(ended["error"]) <= 10_000


def test_a_table_that_is_dropped_ends_the_engine(browser: Browser, server: Server) -> None:
    page = browser.open(test_page(server, store="sqlite"))
    run = triggered(page, "drop", "steps")
    page.wait_for_function("durably.state === 'failed'")
    error = page.evaluate("states.at(-1).error")
    assert error["name"] == "StoreError" and "no such table: steps" in error["message"]
    assert page.evaluate("durably.jobs.anything.trigger(1).catch(({ name }) => name)") == "StoreError"
    assert page.evaluate(f"{TYPES}.filter((type) => type.startsWith('run:'))") == ["run:trigger", "run:leased"], run


def test_an_object_store_that_is_missing_ends_the_engine(
    browser: Browser, altered: Callable[..., Server], site: Path
) -> None:
    missing = altered("durably/worker/main.js", MISSING + (site / "durably/worker/main.js").read_bytes())
    page = browser.open(test_page(missing))
    triggered(page, "count", {"label": "missing", "steps": 2})
    page.wait_for_function("durably.state === 'failed'")
    error = page.evaluate("states.at(-1).error")
    assert error["name"] == "StoreError" and "NotFoundError" in error["message"]
    assert [run["status"] for run in page.evaluate("durably.getRuns().catch(() => [])")] in ([], ["leased"])


@pytest.mark.parametrize(
    ("name", "message", "kind"),
    [
        ("DataError", "The serialized keys and/or value are too large", "data"),
        ("UnknownError", "The serialized value is too large (size=1, max=0 bytes).", "data"),
        ("DataCloneError", "The object could not be cloned.", "data"),
        ("ConstraintError", "A mutation operation failed because a constraint was not satisfied", "data"),
        (
            "NotReadableError",
            "Data lost due to missing file. Affected record is irrecoverable",
            "data",
        ),
        ("RangeError", "Invalid string length", "data"),
        ("InternalError", "allocation size overflow", "data"),
        ("NotFoundError", "One of the specified object stores was not found.", "final"),
        ("VersionError", "", "final"),
        ("QuotaExceededError", "", "full"),
        ("UnknownError", "Connection to Indexed Database server lost.", None),
        ("AbortError", "The transaction was aborted", None),
        ("InvalidStateError", "The database connection is closing.", None),
        ("TransactionInactiveError", "", None),
        ("TimeoutError", "", None),
    ],
)
def test_errors_of_indexeddb_are_of_one_kind(shared_page: Page, name: str, message: str, kind: str | None) -> None:
    recognised = """async ([name, message]) => {
        const { isLoss, refusal } = await import('./durably/shared/database.js');
        const error = name === 'RangeError' ? new RangeError(message) : new DOMException(message, name);
        const wrapped = new DOMException('The transaction was aborted', 'AbortError');
        const around = new Error('something else', { cause: error });
        const kinds = ({ isFull, isFinal, isCausedByData }) => ({ full: isFull, final: isFinal, data: isCausedByData });
        const thrown = [[error], [wrapped, error], [null, error], [around]];
        return { kinds: thrown.map((errors) => kinds(refusal('x', ...errors))), loss: isLoss(error) };
    }"""
    told = shared_page.evaluate(recognised, [name, message])
    assert told["kinds"] == [{other: other == kind for other in ("full", "final", "data")}] * 4
    assert told["loss"] is (kind is None and name != "TimeoutError")


def test_what_is_thrown_for_no_reason_is_a_refusal_too(shared_page: Page) -> None:
    refusals = """async () => {
        const { refusal } = await import('./durably/shared/database.js');
        return [undefined, null, 'out of memory', 7].map((thrown) => refusal('x', thrown).message);
    }"""
    told = [message.partition("refused: ")[2] for message in shared_page.evaluate(refusals)]
    assert told == ["it gave no reason", "it gave no reason", "out of memory", "7"]


@pytest.mark.parametrize("store", STORES)
def test_a_run_that_gets_no_further_in_any_tab_fails(browser: Browser, server: Server, store: str) -> None:
    page = browser.open(test_page(server, store=store, maxClaimsWithoutProgress=2))
    server.close_gate("stuck/1")
    run = triggered(page, "count", {"label": "stuck", "steps": 2})
    for times in (1, 2, 3):
        server.wait_for("stuck/1", times)
        page.reload()
    ended = page.evaluate(ENDED, run)
    assert (ended["status"], ended["errorType"], ended["leaseGeneration"]) == ("failed", "NoProgress", 4)
    assert server.journal("stuck")["stuck/0"] == 1
