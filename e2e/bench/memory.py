"""What an engine keeps in memory over 10,000 runs: Python's heap, JavaScript's, and proxies between the two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from playwright.sync_api import Page

from e2e.bench.measuring import Measurement
from e2e.bench.session import Session, evaluate

RUNS, IN_BATCH = 10_000, 1_000
MB = 1_000_000


def measurements(stores: Sequence[str]) -> list[Measurement]:
    """Return the measurement of each store."""
    return [Measurement("heap_mb", store, partial(_take, store), once=True) for store in stores]


def _take(store: str, session: Session) -> Mapping[str, list[float]]:
    page = session.open_engine(store, session.new_name())
    worker = _WorkerHeap(page)
    _execute(page, IN_BATCH)  # warm, and the proxies are counted from here on
    _alive(page)
    _execute(page, IN_BATCH)
    before, js_before = _alive(page), worker.used()
    for _ in range(RUNS // IN_BATCH):
        _execute(page, IN_BATCH)
    after, js_after = _alive(page), worker.used()
    page.close()
    return {
        store: [(after["wasm"] - before["wasm"] + js_after - js_before) / MB],
        f"{store}_wasm": [after["wasm"] / MB],
        f"{store}_js": [js_after / MB],
        f"{store}, growth of the wasm heap": [(after["wasm"] - before["wasm"]) / MB],
        f"{store}, growth of the worker's JavaScript heap": [(js_after - js_before) / MB],
        f"{store}, further proxies of Python's objects": [after["pyproxies"] - before["pyproxies"]],
        f"{store}, further proxies of JavaScript's objects": [after["jsproxies"] - before["jsproxies"]],
    }


def _execute(page: Page, count: int) -> None:
    evaluate(page, f"() => measures.shortRunsPerSecond({count})")


def _alive(page: Page) -> dict[str, int]:
    """Ask the engine's Python, by a run of a job that counts."""
    counts: dict[str, int] = evaluate(page, "async () => (await durably.jobs.memory.triggerAndWait()).output")
    return counts


class _WorkerHeap:
    """The JavaScript heap of a page's worker, over the browser's debugging protocol."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._answers: dict[int, Any] = {}
        self._worker = ""
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.on("Target.attachedToTarget", self._attached)
        self._devtools.on("Target.receivedMessageFromTarget", self._received)
        attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
        self._devtools.send("Target.setAutoAttach", attach)

    def used(self) -> float:
        """Return the bytes in use once garbage is collected."""
        self._call("HeapProfiler.collectGarbage")
        used: float = self._call("Runtime.getHeapUsage")["usedSize"]
        return used

    def _call(self, method: str) -> Any:
        call = len(self._answers) + 1
        message = json.dumps({"id": call, "method": method})
        self._devtools.send("Target.sendMessageToTarget", {"sessionId": self._worker, "message": message})
        while call not in self._answers:
            self._page.wait_for_timeout(10)
        return self._answers[call]

    def _attached(self, event: dict[str, Any]) -> None:
        self._worker = event["sessionId"]

    def _received(self, event: dict[str, Any]) -> None:
        answer = json.loads(event["message"])
        if "id" in answer:
            self._answers[answer["id"]] = answer["result"]
