"""A site whose store is changed: no run is hidden, and with `adopt: true` all are moved, whatever dies in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.engines import Chromium, Engine, Tab, Tabbed
from e2e.server import Server

NAMES = {"indexeddb": "IndexedDB", "sqlite": "SQLite"}
CHANGES = [("indexeddb", "sqlite"), ("sqlite", "indexeddb")]
STATE = "(({ store, ...state }) => ({ ...state, store: store.kind }))(states.at(-1))"
TRIGGERED = "durably.jobs.anything.trigger(1).then(() => null, ({ name, message }) => ({ name, message }))"
AGAIN = "durably.jobs.anything.trigger(1, { idempotencyKey: 'k' }).then(({ id, disposition }) => [id, disposition])"
# All that the page can read of all runs, the newest first.
ALL = """durably.getRuns().then((runs) => Promise.all(runs.map(async (run) => ({
  ...run, steps: await durably.storage.getSteps(run.id), logs: await durably.storage.getLogs(run.id),
}))))"""
INIT = "durably.init().then(() => null, ({ name, message }) => ({ name, message }))"
# What there is of both stores: each object store's number of records but the epoch, and SQLite's folders.
STORED = """(async () => {
  const { openExisting } = await import('./durably/shared/database.js');
  const { hasFiles } = await import('./durably/shared/stores.js');
  const names = (await indexedDB.databases()).map(({ name }) => name);
  const database = names.includes('test') ? await openExisting('test') : null;
  const counts = {};
  for (const store of database?.objectStoreNames ?? []) {
    const request = database.transaction(store).objectStore(store).count();
    await new Promise((resolve) => (request.onsuccess = resolve));
    if (store !== 'meta' && request.result > 0) counts[store] = request.result;
  }
  database?.close();
  return { indexeddb: database && counts, sqlite: await hasFiles('test'), mark: names.includes('durably:test:sqlite') };
})()"""

change = pytest.mark.parametrize(("old", "new"), CHANGES, ids=[f"{old}-to-{new}" for old, new in CHANGES])
in_chromium = pytest.mark.parametrize(
    "tabbed", [Chromium], ids=["chromium"], indirect=True
)  # each browser moves, below


def opened(tab: Tab | Engine, server: Server, **options: object) -> None:
    tab.open(test_page(server, **options))
    assert tab.evaluate(INIT) is None


def wait_until(tab: Tab | Engine, condition: str) -> None:
    tab.evaluate(
        f"(async () => {{ while (!({condition})) await new Promise((resolve) => setTimeout(resolve, 20)); }})()"
    )


def read(tab: Tab | Engine, expression: str) -> Any:
    return tab.evaluate(expression)


def fill(tab: Tab | Engine, server: Server, label: str) -> list[dict[str, Any]]:
    """Leave an ended run with its logs, one in its second step, and a pending one; return their ids by age."""
    server.close_gate(f"{label}/1")
    read(tab, f"durably.jobs.count.triggerAndWait({{ label: '{label}-ended', steps: 2 }})")
    read(tab, f"durably.jobs.count.trigger({{ label: '{label}', steps: 3 }}, {{ labels: {{ of: 'ä' }} }})")
    server.wait_for(f"{label}/1")
    read(tab, "durably.jobs.anything.trigger({ b: [1, null], a: 'ä😀' }, { idempotencyKey: 'k', concurrencyKey: 'c' })")
    wait_until(tab, "(await durably.getRuns()).at(1).currentStepIndex === 1")
    runs: list[dict[str, Any]] = read(tab, ALL)
    return runs


@change
@in_chromium
def test_an_engine_does_not_start_without_the_runs_of_the_other_store(
    old: str, new: str, tabbed: Tabbed, server: Server
) -> None:
    opened(tabbed, server, store=old)
    before = fill(tabbed, server, "refused")
    tabbed.open(test_page(server, store=new))
    reads = read(tabbed, "durably.getRuns().then(() => 'read', ({ name }) => name)") if new == "sqlite" else None
    error = read(tabbed, INIT)
    assert error["name"] == "StoreError"
    for words in (NAMES[old], NAMES[new], "adopt: true", '"test"'):
        assert words in error["message"], words
    assert read(tabbed, "durably.state") == "failed"
    assert reads in (None, "StoreError")
    assert read(tabbed, TRIGGERED) == error
    stored = read(tabbed, STORED)
    assert stored["sqlite"] == (old == "sqlite")
    assert stored["indexeddb"] is None if old == "sqlite" else stored["indexeddb"]["runs"] == 3

    server.open_gate("refused/1")
    opened(tabbed, server, store=old)
    assert [run["id"] for run in read(tabbed, "durably.getRuns()")] == [run["id"] for run in before]
    for run in before:
        assert read(tabbed, f"durably.waitForRun('{run['id']}').then(({{ status }}) => status)") == "completed"
    assert server.journal("refused") == {"refused/0": 1, "refused/1": 2, "refused/2": 1}


@change
def test_adopt_moves_all_runs_and_goes_on_with_them(old: str, new: str, tabbed: Tabbed, server: Server) -> None:
    opened(tabbed, server, store=old)
    ended = fill(tabbed, server, "moved")[-1]
    tabbed.open(test_page(server, store=new, adopt=True))
    server.open_gate("moved/1")
    runs = read(tabbed, ALL)
    assert len(runs) == 3, "a read waits until all rows are there"
    assert runs[-1] == ended
    assert read(tabbed, INIT) is None
    state = read(tabbed, STATE)
    assert (state["state"], state["store"], state["notice"]) == ("leader", new, None)
    told = read(tabbed, "states.map(({ notice }) => notice).filter(Boolean)")
    assert {notice["name"] for notice in told} == {"StoreAdoption"}
    assert NAMES[old] in told[0]["message"] and NAMES[new] in told[0]["message"]
    for run in runs:
        assert read(tabbed, f"durably.waitForRun('{run['id']}').then(({{ status }}) => status)") == "completed"
    assert server.journal("moved") == {"moved/0": 1, "moved/1": 2, "moved/2": 1}
    assert read(tabbed, "durably.getRuns({ labels: { of: 'ä' } }).then((runs) => runs[0].leaseGeneration)") == 2
    assert read(tabbed, AGAIN) == [runs[0]["id"], "idempotent"]
    stored = read(tabbed, STORED)
    assert stored["sqlite"] == stored["mark"] == (new == "sqlite")
    assert stored["indexeddb"] == {} if new == "sqlite" else stored["indexeddb"]["runs"] == 3

    after = read(tabbed, ALL)
    opened(tabbed, server, store=new)
    assert read(tabbed, ALL) == after
    opened(tabbed, server, store=old, adopt=True)
    assert read(tabbed, ALL) == after, "and back"


@change
@in_chromium
def test_a_tab_is_served_by_a_leader_with_the_other_store(old: str, new: str, tabbed: Tabbed, server: Server) -> None:
    opened(tabbed, server, store=old)
    before = read(tabbed, "durably.jobs.anything.triggerAndWait(0).then(({ id }) => id)")
    follower = tabbed.new_tab()
    opened(follower, server, store=new)
    assert read(follower, "durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    assert read(follower, "durably.getRuns().then((runs) => runs.map(({ input }) => input))") == [7, 0]
    assert read(follower, f"durably.getRun('{before}').then(({{ status }}) => status)") == "completed"
    state = read(follower, STATE)
    assert (state["state"], state["store"], state["notice"]["name"]) == ("follower", old, "OtherStore")
    for words in (NAMES[old], NAMES[new], "adopt: true"):
        assert words in state["notice"]["message"]
    assert read(tabbed, STATE)["state"] == "leader"

    tabbed.open("about:blank")
    wait_until(follower, "durably.state === 'failed'")
    error = read(follower, TRIGGERED)
    assert error["name"] == "StoreError" and "adopt: true" in error["message"]
    opened(tabbed, server, store=old)
    assert read(tabbed, "durably.getRuns().then((runs) => runs.map(({ input }) => input))") == [7, 0]


@change
@in_chromium
def test_a_tab_that_adopts_waits_until_it_leads(old: str, new: str, tabbed: Tabbed, server: Server) -> None:
    opened(tabbed, server, store=old)
    heir, third = tabbed.new_tab(), tabbed.new_tab()
    opened(heir, server, store=new, adopt=True)
    opened(third, server, store=old)
    assert read(heir, "durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    state = read(heir, STATE)
    assert (state["state"], state["store"], state["notice"]["name"]) == ("follower", old, "OtherStore")
    assert "as soon as it leads" in state["notice"]["message"]
    server.close_gate("adopted/1")
    read(third, "durably.jobs.count.trigger({ label: 'adopted', steps: 2 }).then(({ id }) => void (window.id = id))")
    server.wait_for("adopted/1")
    read(third, "void (window.waited = durably.waitForRun(id))")

    tabbed.open("about:blank")
    wait_until(heir, "durably.state === 'leader'")
    wait_until(third, f"states.at(-1).store.kind === '{new}' && states.at(-1).stage === 'ready'")
    server.open_gate("adopted/1")
    assert read(third, "waited.then(({ output }) => output.total)") == 1
    for tab in (heir, third):
        assert read(tab, STATE)["store"] == new
        assert read(tab, "durably.getRuns().then((runs) => runs.some(({ id, input }) => input === 7))")
        assert read(tab, "durably.jobs.anything.triggerAndWait(8).then(({ output }) => output)") == 8
    assert read(heir, STATE)["notice"] is None
    assert read(third, STATE)["notice"]["name"] == "OtherStore"


@change
@in_chromium
def test_a_follower_takes_the_first_epochs_of_a_new_store(old: str, new: str, tabbed: Tabbed, server: Server) -> None:
    """Where the old store is empty, another tab may lead with a new one, whose epochs begin at 1."""
    for _ in range(3):
        opened(tabbed, server, store=old)
    heir, follower = tabbed.new_tab(), tabbed.new_tab()
    opened(heir, server, store=new)
    opened(follower, server, store=old)
    assert read(follower, STATE)["epoch"] == 3

    tabbed.open("about:blank")
    wait_until(heir, "durably.state === 'leader'")
    wait_until(follower, f"states.at(-1).store.kind === '{new}' && states.at(-1).stage === 'ready'")

    assert read(heir, STATE)["epoch"] == 1
    assert read(follower, "durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    wait_until(follower, "events.some(({ type }) => type === 'run:complete')")
    assert read(follower, "durably.getRuns().then((runs) => runs.length)") == 1
    assert read(follower, STATE)["epoch"] == 1


@change
@in_chromium
def test_an_empty_other_store_is_no_obstacle(old: str, new: str, tabbed: Tabbed, server: Server) -> None:
    opened(tabbed, server, store=old)
    run = read(tabbed, "durably.jobs.anything.triggerAndWait(0).then(({ id }) => id)")
    read(tabbed, f"durably.deleteRun('{run}').then(() => null)")
    opened(tabbed, server, store=new)
    assert read(tabbed, "durably.jobs.anything.triggerAndWait(7).then(({ output }) => output)") == 7
    opened(tabbed, server, store=new)
    state = read(tabbed, STATE)
    assert (state["state"], state["store"], state["notice"]) == ("leader", new, None)
    stored = read(tabbed, STORED)
    assert stored["sqlite"] == stored["mark"] == (new == "sqlite"), "an empty SQLite database is deleted"


def test_a_notice_names_the_runs_that_gave_a_key_up(browser: Browser, server: Server) -> None:
    page = browser.open(test_page(server, store="sqlite"))
    holder = page.evaluate("durably.jobs.anything.triggerAndWait(1, { idempotencyKey: 'k' })")
    page.goto(f"{server.url}/index.html")
    page.evaluate("""async () => {
      const { openDatabase } = await import('./durably/shared/database.js');
      const database = await openDatabase('test');
      const transaction = database.transaction(['runs', 'payloads'], 'readwrite');
      const at = '2026-01-01T00:00:00.000Z';
      transaction.objectStore('runs').put({
        id: 'old', jobName: 'anything', status: 'pending', idempotencyKey: 'k', concurrencyKey: null, labels: {},
        currentStepIndex: 0, completedStepCount: 0, progress: null, error: null, errorType: null, errorTraceback: null,
        leaseOwner: null, leaseExpiresAt: null, leaseGeneration: 0, startedAt: null, completedAt: null,
        createdAt: at, updatedAt: at,
      });
      transaction.objectStore('payloads').put({ runId: 'old', kind: 'input', text: '2' });
      await new Promise((resolve) => (transaction.oncomplete = resolve));
      database.close();
    }""")
    page.goto(test_page(server, store="sqlite", adopt=True))
    assert page.evaluate(
        "durably.waitForRun('old').then(({ output, idempotencyKey }) => [output, idempotencyKey])"
    ) == [
        2,
        None,
    ]
    notice = page.evaluate("states.at(-1).notice")
    assert notice["name"] == "StoreAdopted"
    assert "run old" in notice["message"] and "'k'" in notice["message"]
    assert page.evaluate(AGAIN) == [holder["id"], "idempotent"]
    page.reload()
    page.evaluate("durably.init()")
    assert page.evaluate("states.at(-1).notice") is None


@pytest.mark.parametrize("adopt", ["yes", 1, None], ids=repr)
def test_adopt_is_true_or_false(adopt: object, shared_page: Any) -> None:
    refused = shared_page.evaluate(
        """(adopt) => {
          try {
            createDurably({ database: 'test', jobs: './jobs.py', adopt });
          } catch ({ name, message }) {
            return { name, message };
          }
        }""",
        adopt,
    )
    assert refused["name"] == "ValidationError"
    assert "adopt must be true or false, not" in refused["message"]


class TestKills:
    """The browser is killed in the middle of a move, at one write to either store after another."""

    @pytest.mark.timeout(0)  # every wait has a limit of its own
    @change
    def test_no_run_is_lost_or_there_twice(
        self, old: str, new: str, start: Callable[[type[Engine], Path], Engine], server: Server, tmp_path: Path
    ) -> None:
        profile = tmp_path / "profile"

        def open_with(store: str, **points: object) -> Engine:
            browser = start(Chromium, profile)
            browser.open(f"{server.url}/kills.html?{urlencode({'store': store, **points})}")
            return browser

        browser = open_with(old)
        inputs = [{"label": f"{new}-{number}", "steps": 2} for number in range(3)]
        try:
            browser.evaluate(
                f"Promise.all({json.dumps(inputs)}.map(async (i) => durably.waitForRun(await trigger(i))))"
            )
            server.close_gate(f"{new}-leased/1")
            browser.evaluate(f"trigger({{ label: '{new}-leased', steps: 2 }})")
            server.wait_for(f"{new}-leased/1")
            before = browser.evaluate(ALL)
        finally:
            browser.kill()
        assert browser.troubles == []
        server.open_gate(f"{new}-leased/1")

        killed = 0
        for after in range(0, 1000, 9):
            name = f"{new}-{after}"
            server.close_gate(f"kill/{name}")
            browser = open_with(new, adopt="", point="write", after=after, round=name)
            try:
                body = json.dumps({"method": "POST", "body": f"moved/{name}"})
                browser.evaluate(f"void durably.init().then(() => fetch('/journal', {body}))")
                try:
                    reached = server.wait_for_any([f"reached/{name}", f"moved/{name}"])
                except TimeoutError as error:
                    error.add_note(f"The page was told: {browser.evaluate('states')}")
                    raise
            finally:
                browser.kill()
                server.open_gate(f"kill/{name}")
            assert browser.troubles == []
            if reached.startswith("moved/"):
                break
            killed += 1
        assert killed >= 3

        browser = open_with(new)
        try:
            browser.evaluate(f"durably.waitForRun('{before[0]['id']}').then(() => null)")
            after = browser.evaluate(ALL)
        finally:
            browser.kill()
        assert browser.troubles == []
        assert after[1:] == before[1:]
        assert (after[0]["id"], after[0]["output"]) == (before[0]["id"], {"total": 1})
        assert server.journal(f"{new}-leased")[f"{new}-leased/0"] == 1
