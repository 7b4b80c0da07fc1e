"""What the page reads costs what it shows, however much is stored: the records that IndexedDB hands out are counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright

from e2e.browser import Browser
from e2e.server import Server

FEW, MANY, PAGE = 100, 100_000, 20

# A database of runs of two jobs in three states, each with its input, some with steps and logs.
FILL = """async ({ name, runs }) => {
    const { openDatabase } = await import('./durably/shared/database.js');
    const database = await openDatabase(name);
    for (let start = 0; start < runs; start += 10_000) {
        const transaction = database.transaction(['runs', 'payloads', 'steps', 'logs'], 'readwrite');
        const put = (store, record) => transaction.objectStore(store).put(record);
        for (let number = start; number < Math.min(start + 10_000, runs); number++) {
            const id = `run-${String(number).padStart(6, '0')}`;
            const status = ['pending', 'completed', 'failed'][number % 3];
            put('runs', { id, jobName: ['import', 'export'][number % 2], status, createdAt: id, labels: {} });
            put('payloads', { runId: id, kind: 'input', text: '1' });
            if (number < 50) put('steps', { runId: id, name: 'step', index: 0 });
            if (number < 50) put('logs', { runId: id, id: 'line' });
        }
        await new Promise((resolve, reject) => {
            transaction.oncomplete = resolve;
            transaction.onabort = () => reject(transaction.error);
        });
    }
    database.close();
}"""

# How many records a read gets, each cursor's stop counting as one.
COUNT = """async ({ name, read, params }) => {
    const { openDatabase } = await import('./durably/shared/database.js');
    const { READS } = await import('./durably/shared/reads.js');
    let records = 0;
    const { onsuccess } = Object.getOwnPropertyDescriptors(IDBRequest.prototype);
    Object.defineProperty(IDBRequest.prototype, 'onsuccess', {
        ...onsuccess,
        set(listener) {
            onsuccess.set.call(this, (event) => {
                const { result } = event.target;
                if (!(result instanceof IDBDatabase)) records += Array.isArray(result) ? result.length : 1;
                listener(event);
            });
        },
    });
    const database = await openDatabase(name);
    const found = await READS[read](database, params);
    database.close();
    Object.defineProperty(IDBRequest.prototype, 'onsuccess', onsuccess);
    return { found: found.length, records };
}"""


def filter_of(**given: Any) -> dict[str, Any]:
    return {"status": [], "jobName": [], "labels": {}, "limit": PAGE, "offset": 0} | given


@pytest.fixture(scope="module")
def filled(playwright: Playwright, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page beside two databases, of few and of many runs."""
    browser = Browser(playwright, tmp_path_factory.mktemp("reads"))
    page = browser.open(f"{server.url}/index.html")
    for name, runs in (("few", FEW), ("many", MANY)):
        page.evaluate(FILL, {"name": name, "runs": runs})
    yield page
    browser.close()
    assert browser.troubles == []


@pytest.mark.parametrize(
    ("read", "params", "found"),
    [
        ("runs", filter_of(), PAGE),
        ("runs", filter_of(offset=5), PAGE),
        ("runs", filter_of(status=["failed"]), PAGE),
        ("runs", filter_of(status=["leased"]), 0),
        ("runs", filter_of(jobName=["export"]), PAGE),
        ("runs", filter_of(jobName=["unknown"]), 0),
        ("runs", filter_of(status=["pending", "completed"], jobName=["import", "export"]), PAGE),
        ("run", {"id": "run-000042"}, 1),
        ("steps", {"runId": "run-000042"}, 1),
        ("logs", {"runId": "run-000042"}, 1),
    ],
)
def test_a_read_costs_the_same_out_of_many_as_out_of_few(
    filled: Page, read: str, params: dict[str, Any], found: int
) -> None:
    few, many = (filled.evaluate(COUNT, {"name": name, "read": read, "params": params}) for name in ("few", "many"))
    assert few == many
    assert many["found"] == found
    cursors = max(1, len(params.get("status", "")) * len(params.get("jobName", "")))
    assert many["records"] <= 2 * found + params.get("offset", 0) + cursors
