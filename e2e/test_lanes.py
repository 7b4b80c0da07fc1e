"""The outbox's lanes: a page's calls wait for nobody there, and are moved on by whoever finds the page gone."""

from __future__ import annotations

from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server
from e2e.test_outbox import HOLD_CALLS, HOLD_MESSAGES, assert_empty, open_with_outbox, wait_until

SLOTS_TAKEN = "(await navigator.locks.query()).held.filter(({ name }) => name.includes(':slot:')).length"

# Counts what this page puts, when it is issued and when it is committed.
COUNT_PUTS = """() => {
  [window.issued, window.committed] = [0, 0];
  const { put } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.put = function (entry) {
    issued += 1;
    this.transaction.addEventListener('complete', () => (committed += 1));
    return put.call(this, entry);
  };
}"""


def test_the_calls_of_one_task_are_kept_in_one_commit_and_moved_in_another(page: Page) -> None:
    commits = page.evaluate(
        """async () => {
          const transactions = new Set();
          const { put } = IDBObjectStore.prototype;
          IDBObjectStore.prototype.put = function (entry) {
            transactions.add(this.transaction);
            return put.call(this, entry);
          };
          await Promise.all(Array.from({ length: 20 }, (_, n) => durably.jobs.anything.trigger(n)));
          return transactions.size;
        }"""
    )

    assert commits == 2


def test_what_waits_in_the_lanes_of_a_closed_tab_is_applied_by_the_leader(
    page: Page, browser: Browser, server: Server
) -> None:
    follower = open_with_outbox(browser, test_page(server), "")
    follower.wait_for_function("states.at(-1)?.stage === 'ready'")
    follower.evaluate(HOLD_MESSAGES)
    page.evaluate(HOLD_CALLS)

    follower.evaluate("void durably.jobs.anything.trigger(1)")
    follower.close()
    wait_until(page, f"{SLOTS_TAKEN} === 1")
    page.evaluate("release()")

    wait_until(page, "(await durably.getRuns())[0]?.status === 'completed'")
    assert page.evaluate("durably.getRuns().then((runs) => runs.length)") == 1
    assert_empty(page)


def test_a_lane_is_looked_into_only_while_no_page_can_take_it(browser: Browser, server: Server) -> None:
    """A page that took it meanwhile would have its first calls wait, and lose them with a reload."""
    page = browser.open(f"{server.url}/index.html")

    looked, unlocked = page.evaluate(
        """async () => {
          const { Outbox } = await import('./durably/shared/outbox.js');
          const outbox = await Outbox.open('test');
          const [held, looked, unlocked] = [new Set(), [], []];
          const { request } = LockManager.prototype;
          LockManager.prototype.request = function (name, options, action) {
            return request.call(this, name, options, async (lock) => {
              if (lock) held.add(name);
              await action(lock);
              held.delete(name);
            });
          };
          const { transaction } = IDBDatabase.prototype;
          IDBDatabase.prototype.transaction = function (stores, ...rest) {
            for (const lane of [stores].flat().filter((store) => store.startsWith('lane-'))) {
              looked.push(lane);
              if (!held.has(`durably:test:slot:${lane.split('-')[1]}`)) unlocked.push(lane);
            }
            return transaction.call(this, stores, ...rest);
          };
          await outbox.rescueAll();
          return [new Set(looked).size, unlocked];
        }"""
    )

    assert (looked, unlocked) == (24, [])


def test_what_cannot_be_moved_out_of_a_lane_keeps_nothing_else_back(browser: Browser, server: Server) -> None:
    page = browser.open(f"{server.url}/index.html")

    found = page.evaluate(
        """async () => {
          const { Outbox } = await import('./durably/shared/outbox.js');
          const outbox = await Outbox.open('test');
          const numbers = async () => (await outbox.entries()).map(({ number }) => number);
          await outbox.put({ tab: 'gone', number: 1 });
          const { store, committed } = outbox.begin(['lane-0-0']);
          store('lane-0-0').put({ tab: 'gone', number: 2 });
          await committed;

          const { put } = IDBObjectStore.prototype;
          IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); };
          await outbox.rescueAll();
          const whileFull = await numbers();
          IDBObjectStore.prototype.put = put;
          await outbox.rescueAll();
          return [whileFull, await numbers()];
        }"""
    )

    assert found == [[1], [1, 2]]


def test_a_client_that_is_stopped_leaves_its_slot_to_others(page: Page) -> None:
    wait_until(page, f"{SLOTS_TAKEN} === 1")

    page.evaluate("() => durably.stop()")

    wait_until(page, f"{SLOTS_TAKEN} === 0")


def test_the_browser_has_looked_for_room_once_the_outbox_is_open(browser: Browser, server: Server) -> None:
    """Chromium drops a commit that waits for it to look how much room there is, as the first one does."""
    page = browser.open(f"{server.url}/index.html")
    page.evaluate(COUNT_PUTS)

    committed = page.evaluate("open() ?? durably.rejectedCalls().then(() => committed)")

    assert committed == 1
    assert_empty(page)


def test_the_browser_looks_for_room_again_before_a_click(page: Page) -> None:
    page.evaluate(COUNT_PUTS)
    page.evaluate(
        """() => {
          const { now } = performance;
          performance.now = () => now.call(performance) + 31_001; // it has forgotten
          addEventListener('click', () => (window.atClick = issued));
        }"""
    )

    page.mouse.click(100, 100)
    page.mouse.click(100, 100)
    page.wait_for_function("committed > 0")

    assert page.evaluate("[atClick, issued]") == [1, 1]
