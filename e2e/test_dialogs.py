"""A page that waits in `alert()`, or for a synchronous request, while the engine's storage is at work.

Only Firefox goes on meanwhile: it tells of what IndexedDB has done, but no promise job runs before the page goes on, so
that a transaction whose next request hangs on a promise ends without it.
"""

from __future__ import annotations

import pytest

from e2e.conftest import test_page, unless_here
from e2e.engines import Firefox, Tabbed
from e2e.server import Server

pytestmark = pytest.mark.parametrize(
    "tabbed", [pytest.param(Firefox, id="firefox", marks=unless_here(Firefox))], indirect=True
)

WAIT = """(() => {
    const waiting = new XMLHttpRequest();
    waiting.open('GET', './jobs.py', false);
    waiting.send();
})()"""

# What is left in the outbox and its lanes, once all that was answered is removed.
LEFT_IN_OUTBOX = """async () => {
    const database = await new Promise((resolve) => {
        indexedDB.open('durably:test:outbox').onsuccess = ({ target }) => resolve(target.result);
    });
    for (;;) {
        const transaction = database.transaction(database.objectStoreNames);
        const stores = await Promise.all([...database.objectStoreNames].map((name) => new Promise((resolve) => {
            transaction.objectStore(name).count().onsuccess = ({ target }) => resolve([name, target.result]);
        })));
        const left = stores.filter(([, count]) => count > 0);
        if (left.length === 0) return left;
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}"""

# Has the page wait, once, from the task after a cursor is opened until it is there, and a little longer. `waited` says
# whether it came meanwhile.
WAIT_FOR_CURSOR = f"""(() => {{
    window.waited = false;
    const {{ openCursor }} = IDBIndex.prototype;
    IDBIndex.prototype.openCursor = function (...args) {{
        const request = openCursor.apply(this, args);
        let isThere = false;
        request.addEventListener('success', () => (isThere = true));
        const {{ port1, port2 }} = new MessageChannel();
        port1.onmessage = () => {{
            if (waited || isThere) return;
            while (!isThere) {WAIT};
            {WAIT};
            window.waited = true;
        }};
        port2.postMessage(null);
        return request;
    }};
}})()"""


def test_a_read_is_answered(tabbed: Tabbed, server: Server) -> None:
    tabbed.open(test_page(server))
    tabbed.evaluate("durably.jobs.anything.triggerAndWait(1).then(() => null)")
    tabbed.evaluate(WAIT_FOR_CURSOR)

    runs = tabbed.evaluate(
        """(async () => {
            for (;;) {
                const runs = await durably.getRuns();
                if (waited) return runs.map(({ input }) => input);
            }
        })()"""
    )

    assert runs == [1]


def test_a_trigger_is_applied_once(tabbed: Tabbed, server: Server) -> None:
    tabbed.open(test_page(server))
    tabbed.evaluate("Promise.all([durably.init(), durably.rejectedCalls()]).then(() => null)")

    tabbed.evaluate(f"(() => {{ window.run = durably.jobs.anything.triggerAndWait(1); {WAIT}; {WAIT}; {WAIT}; }})()")

    assert tabbed.evaluate("run.then(({ output }) => output)") == 1
    assert tabbed.evaluate(f"({LEFT_IN_OUTBOX})()") == []
    assert tabbed.evaluate("durably.getRuns().then((runs) => runs.length)") == 1
