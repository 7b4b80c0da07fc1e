"""The outbox: what is in it, when it goes, and that nothing is applied twice. More: `test_lanes`, `test_lost_pages`."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server
from e2e.test_faults import Quota

# What lies in these stores of a database, in all if none are named.
READ = """async (database, ...stores) => {
  const open = indexedDB.open(database);
  await new Promise((resolve) => (open.onsuccess = resolve));
  const names = stores.length ? stores : [...open.result.objectStoreNames];
  const transaction = open.result.transaction(names);
  const found = await Promise.all(names.map((name) => new Promise((resolve) => {
    transaction.objectStore(name).getAll().onsuccess = ({ target }) => resolve(target.result);
  })));
  open.result.close();
  return found.flat();
}"""
OUTBOX = f"() => ({READ})('durably:test:outbox')"
OUTCOMES = f"() => ({READ})('test', 'calls')"
# Counts the entries that the page removes, and the transactions in which it does.
COUNT_REMOVALS = """() => {
  window.removed = 0;
  window.removals = new Set();
  const { delete: remove } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.delete = function (key) {
    removed += 1;
    removals.add(this.transaction);
    return remove.call(this, key);
  };
}"""

# Keep what this page says to the others, until `deliver()`.
HOLD_MESSAGES = """() => {
  const post = BroadcastChannel.prototype.postMessage;
  const held = [];
  BroadcastChannel.prototype.postMessage = function (envelope) { held.push(() => post.call(this, envelope)); };
  window.deliver = () => {
    BroadcastChannel.prototype.postMessage = post;
    held.forEach((send) => send());
  };
}"""
# Read the calls in one transaction, for which every other one that is to change them waits, until `release()`.
HOLD_CALLS = """(async () => {
  const open = indexedDB.open('durably:test:outbox');
  await new Promise((resolve) => (open.onsuccess = resolve));
  const calls = open.result.transaction('calls').objectStore('calls');
  let isHeld = true;
  window.release = () => (isHeld = false);
  const read = () => isHeld && (calls.count().onsuccess = read);
  await new Promise((resolve) => (calls.count().onsuccess = resolve));
  read();
})()"""

# Note why the leader refuses calls.
HEAR_REFUSALS = """() => {
  window.refusals = [];
  const channel = new BroadcastChannel('durably:test');
  channel.onmessage = ({ data: { message } }) => message.error && refusals.push(message.error.message);
}"""


def test_a_rejection_that_its_page_did_not_hear_is_kept_and_told(browser: Browser, server: Server) -> None:
    page = open_with_outbox(browser, test_page(server), "")

    with page.expect_navigation():
        page.evaluate("() => { durably.jobs.count.trigger({ label: '', steps: 2 }); location.reload(); }")
    page.evaluate("durably.init()")
    page.wait_for_function("events.some(({ type }) => type === 'worker:error')")

    [told] = page.evaluate("events.filter(({ type }) => type === 'worker:error')")
    [rejected] = page.evaluate("durably.rejectedCalls()")
    assert (told["context"], "label" in told["error"]) == ("outbox", True)
    assert (rejected["method"], rejected["error"]["name"]) == ("trigger", "ValidationError")
    assert rejected["params"]["input"] == {"label": "", "steps": 2}
    assert page.evaluate("durably.getRuns()") == []

    page.reload()  # it is told once, and listed from then on
    page.evaluate("durably.init()")
    assert page.evaluate("durably.rejectedCalls()") == [rejected]
    assert page.evaluate("events.filter(({ type }) => type === 'worker:error')") == []


def test_a_kept_rejection_can_be_forgotten(browser: Browser, server: Server) -> None:
    page = open_with_outbox(browser, test_page(server), "")
    with page.expect_navigation():
        page.evaluate("() => { for (const n of [1, 2]) durably.jobs.count.trigger({ n }); location.reload(); }")
    page.evaluate("durably.init()")
    wait_until(page, "(await durably.rejectedCalls()).length === 2")
    [first, second] = page.evaluate("durably.rejectedCalls()")

    page.evaluate("(id) => durably.forgetRejectedCall(id)", first["id"])
    page.evaluate("(id) => durably.forgetRejectedCall(id)", first["id"])  # in another tab, say

    assert page.evaluate("durably.rejectedCalls()") == [second]


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_a_cancel_during_the_boot_comes_before_the_first_claim(store: str, browser: Browser, server: Server) -> None:
    label = f"early-{store}"
    server.close_gate(f"{label}/1")
    page = browser.open(test_page(server, store=store))
    run = page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 2 })", label)
    server.wait_for(f"{label}/1")
    page.close()

    page = browser.open(f"{server.url}/index.html")
    page.evaluate("([store, id]) => { open({ store }); return durably.cancel(id); }", [store, run["id"]])
    cancelled = page.evaluate("(id) => durably.getRun(id)", run["id"])
    server.open_gate(f"{label}/1")

    assert (cancelled["status"], cancelled["leaseGeneration"]) == ("cancelled", 1)


def test_the_outbox_is_empty_when_all_is_answered(page: Page, browser: Browser, server: Server) -> None:
    follower = browser.open(test_page(server))
    for tab in (page, follower):
        tab.evaluate(
            """async () => {
              const { id } = await durably.jobs.anything.trigger(1);
              await durably.waitForRun(id);
              await durably.deleteRun((await durably.retrigger(id)).id).catch(() => {}); // it may be running
              await durably.jobs.count.trigger({}).catch(() => {});
            }"""
        )

    assert_empty(page)


def test_many_answered_calls_leave_the_outbox_in_few_commits(page: Page) -> None:
    page.evaluate(COUNT_REMOVALS)

    page.evaluate("async () => { for (let n = 0; n < 200; n++) await durably.jobs.anything.trigger(n); }")
    page.wait_for_function("removed === 200")

    assert page.evaluate("removals.size") <= 100
    assert_empty(page)


def test_a_page_that_goes_leaves_no_answered_call_behind(page: Page) -> None:
    page.evaluate(COUNT_REMOVALS)

    with page.expect_navigation():
        page.evaluate(
            """() => void durably.jobs.anything.trigger(1).then(() => {
              addEventListener('pagehide', () => sessionStorage.setItem('removed', removed));
              location.reload();
            })"""
        )

    assert page.evaluate("sessionStorage.getItem('removed')") == "1"


def test_a_rejected_call_leaves_the_outbox_at_once(page: Page) -> None:
    page.evaluate(COUNT_REMOVALS)

    rejected = page.evaluate("durably.jobs.count.trigger({}).catch(({ name }) => ({ name, removed }))")

    assert rejected == {"name": "ValidationError", "removed": 1}


def test_the_outcome_of_a_call_is_kept_as_long_as_the_call_is_in_the_outbox(page: Page) -> None:
    page.evaluate(
        """async () => {
          const { delete: remove } = IDBObjectStore.prototype;
          IDBObjectStore.prototype.delete = () => {};
          await durably.jobs.anything.trigger(1);
          await durably.jobs.count.trigger({}).catch(() => {}); // with which all that was answered is removed at once
          IDBObjectStore.prototype.delete = remove;
          await durably.jobs.anything.trigger(2);
        }"""
    )
    assert len(page.evaluate(OUTCOMES)) == 2

    wait_until(page, f"(await ({OUTCOMES})()).length === 1")

    [outcome] = page.evaluate(OUTCOMES)
    assert outcome["id"] in [entry["call"]["id"] for entry in page.evaluate(OUTBOX)]
    assert len(page.evaluate("durably.getRuns()")) == 2  # what is forgotten while it is there, is applied again


def test_a_trigger_needs_no_network(browser: Browser, page: Page) -> None:
    browser.context.set_offline(True)

    run = page.evaluate("durably.jobs.anything.trigger(1)")
    ended = page.evaluate("(id) => durably.waitForRun(id)", run["id"])

    assert ended["output"] == 1
    assert_empty(page)


@pytest.mark.cold  # a snapshot of Python takes more than the room that is left here
@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_a_trigger_that_finds_no_room_leaves_nothing(store: str, browser: Browser, server: Server) -> None:
    quota = Quota(browser, server)
    if store == "indexeddb":
        quota.limit(1_000_000)  # before: Chromium asks how much room there is only when that much has been written
    page = browser.open(test_page(server, store=store))
    page.evaluate("durably.init()")
    quota.limit(1_000_000)
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)

    refused = page.evaluate(
        """() => {
          const input = Uint8Array.from({ length: 1_000_000 }, () => Math.random() * 256).toHex();
          return durably.jobs.anything.trigger(input).catch(({ name, isFull }) => ({ name, isFull }));
        }"""
    )

    assert refused == {"name": "StoreError", "isFull": True}
    assert page.evaluate("durably.getRuns()") == page.evaluate(OUTBOX) == []
    if store == "indexeddb":  # else Chromium may go by the room that there was half a minute ago
        [warning] = warnings
        assert warning.startswith("durably: a call is not kept until it is answered: QuotaExceededError")
    quota.lift()
    assert page.evaluate("durably.jobs.anything.trigger(1).then(({ id }) => durably.waitForRun(id))")["output"] == 1


def test_what_a_stopping_leader_rejects_is_applied_by_nobody(page: Page, browser: Browser, server: Server) -> None:
    follower = browser.open(test_page(server))
    follower.wait_for_function("states.at(-1)?.stage === 'ready'")

    answers = page.evaluate(
        """async () => {
          const untilRejected = async (first) => {
            const answered = [];
            for (let n = first; ; n++) {
              try {
                await durably.jobs.anything.trigger(n);
                answered.push(n);
              } catch (error) {
                return { answered, rejected: n, message: error.message };
              }
            }
          };
          const loops = Array.from({ length: 20 }, (_, loop) => untilRejected(1000 * loop));
          await new Promise((resolve) => durably.on('run:trigger', resolve));
          await durably.stop();
          return Promise.all(loops);
        }"""
    )
    follower.wait_for_function("durably.state === 'leader'")
    runs = follower.evaluate("durably.getRuns().then((runs) => runs.map(({ input }) => input))")

    assert sorted(runs) == sorted(n for answer in answers for n in answer["answered"])
    assert {answer["message"] for answer in answers} == {"This engine was stopped; create a new one to go on"}
    assert_empty(follower)


def test_a_call_that_a_follower_gives_up_says_that_it_may_have_been_applied(
    page: Page, browser: Browser, server: Server
) -> None:
    follower = open_with_outbox(browser, test_page(server), "")
    follower.wait_for_function("states.at(-1)?.stage === 'ready'")

    [changing, other] = follower.evaluate(
        """() => {
          BroadcastChannel.prototype.postMessage = () => {}; // what the leader does not hear, it does not answer
          const tell = ({ message, mayBeApplied }) => ({ message, mayBeApplied });
          const calls = [durably.jobs.anything.trigger(1), durably.exportDatabase()].map((call) => call.catch(tell));
          return durably.stop().then(() => Promise.all(calls));
        }"""
    )

    stopped = "This engine was stopped; create a new one to go on"
    assert changing == {"message": f"{stopped}. This call may have been applied all the same", "mayBeApplied": True}
    assert other["message"] == stopped
    assert_empty(page)


def test_what_an_engine_that_cannot_start_rejects_is_not_applied_later(browser: Browser, server: Server) -> None:
    page = open_with_outbox(browser, test_page(server, jobs="./missing.py"), "")

    [before, reason] = page.evaluate(
        """durably.jobs.anything.trigger(1).catch(({ message }) => [message, states.at(-1).error.message])"""
    )
    after = page.evaluate("durably.jobs.anything.trigger(2).catch(({ message }) => message)")
    assert before == after == reason
    assert_empty(page)

    page.evaluate("open()")
    assert page.evaluate("durably.getRuns()") == []


def test_a_call_whose_message_comes_late_is_applied_once(page: Page, browser: Browser, server: Server) -> None:
    follower = open_with_outbox(browser, test_page(server), "")
    follower.wait_for_function("states.at(-1)?.stage === 'ready'")
    follower.evaluate(HOLD_MESSAGES)

    run = follower.evaluate("durably.jobs.anything.trigger(1)")  # answered, since the leader looks into the outbox
    follower.evaluate("deliver()")
    follower.evaluate("(id) => durably.waitForRun(id)", run["id"])

    assert page.evaluate("durably.getRuns().then((runs) => runs.map(({ id }) => id))") == [run["id"]]
    assert page.evaluate("events.filter(({ type }) => type === 'run:trigger').length") == 1


def test_a_cancellation_that_came_too_late_is_refused_in_the_same_words_again(
    page: Page, browser: Browser, server: Server
) -> None:
    run = page.evaluate("durably.jobs.anything.trigger(1).then(({ id }) => durably.waitForRun(id))")
    follower = open_with_outbox(browser, test_page(server), "")
    follower.evaluate("durably.init()")
    follower.evaluate(HEAR_REFUSALS)
    follower.evaluate(HOLD_MESSAGES)

    error = follower.evaluate("(id) => durably.cancel(id).catch(({ message }) => message)", run["id"])
    follower.evaluate("deliver()")
    follower.wait_for_function("refusals.length > 1")

    assert error == f"Cannot cancel run {run['id']}: it is completed"
    assert follower.evaluate("refusals") == [error] * 2


# Send each call to the worker twice in one task, as when a message is resent while the outbox is read.
SEND_TWICE = """() => {
  for (const worker of workers) {
    const { postMessage } = worker;
    worker.postMessage = (message, ...rest) => {
      postMessage.call(worker, message, ...rest);
      if (message.method !== 'read') postMessage.call(worker, { ...message, again: true }, ...rest);
    };
  }
}"""


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_a_call_that_comes_twice_at_once_is_told_once(store: str, browser: Browser, server: Server) -> None:
    page = browser.open(test_page(server, store=store))
    page.evaluate("durably.init()")
    page.evaluate(SEND_TWICE)

    told = page.evaluate(
        """async () => {
          const { id } = await durably.jobs.spin.triggerAndWait(1);
          await durably.jobs.spin.batchTrigger([1, 1]);
          const again = await durably.retrigger(id);
          await durably.waitForRun(again.id);
          await durably.deleteRun(id);
          const late = await durably.cancel(again.id).catch(({ name }) => name);
          await durably.purgeRuns({ olderThan: new Date(0) });
          await durably.init();
          return [late, events.map(({ type }) => type).filter((type) => /trigger|delete|cancel|error/.test(type))];
        }"""
    )

    assert told == ["ConflictError", ["run:trigger"] * 4 + ["run:delete"]]
    server.close_gate(f"twice-{store}/0")
    page.evaluate(
        "async (label) => durably.cancel((await durably.jobs.count.trigger({ label, steps: 1 })).id)", f"twice-{store}"
    )
    server.open_gate(f"twice-{store}/0")
    assert page.evaluate("durably.init().then(() => events.filter(({ type }) => type === 'run:cancel').length)") == 1


def open_with_outbox(browser: Browser, url: str, label: str) -> Page:
    """Open a page whose outbox is open, with the label that its trigger is to have."""
    page = browser.open(url)
    page.evaluate("(label) => { window.label = label; return durably.rejectedCalls(); }", label)
    return page


def assert_empty(page: Page) -> None:
    """Wait until nothing is left in the outbox."""
    wait_until(page, f"(await ({OUTBOX})()).length === 0")


def wait_until(page: Page, condition: str) -> None:
    """Wait for a condition that awaits something itself."""
    page.evaluate(f"async () => {{ while (!({condition})) await new Promise((resolve) => setTimeout(resolve, 20)); }}")
