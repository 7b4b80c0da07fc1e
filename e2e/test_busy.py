"""A job that keeps Python busy: it loses neither its run nor the leadership, and it can be cancelled even so."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server
from e2e.test_tabs import FOLLOW

SLOTS = {"maxConcurrentRuns": 3}
SHORT_LEASES = {"leaseMs": 1000, "leaseRenewIntervalMs": 200}
THREE_LEASES_S = 3
ERROR = "({ name, message }) => ({ name, message })"


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_is_cancelled_and_the_others_go_on_from_their_checkpoints(store: str, browser: Browser, server: Server) -> None:
    page = browser.open(test_page(server, store=store, **SLOTS))
    page.evaluate("durably.init()")

    run_id = begin_with_others(page, server, store)
    page.evaluate("(id) => durably.cancel(id)", run_id)

    assert_others_go_on(page, server, store)
    assert_cancelled(page, server, store, run_id)
    assert page.evaluate("durably.state") == "leader"
    assert page.evaluate("events.filter(({ context }) => context === 'crash')") == []


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
def test_is_cancelled_from_a_follower(store: str, browser: Browser, server: Server) -> None:
    leader = browser.open(test_page(server, store=store, **SLOTS))
    leader.evaluate("durably.init()")
    follower = browser.open(test_page(server, store=store, **SLOTS))
    follower.wait_for_function(FOLLOW)
    label = f"follower-{store}"

    run_id = begin_with_others(leader, server, label)
    follower.evaluate("(id) => durably.cancel(id)", run_id)

    for page in (leader, follower):
        assert page.evaluate("(id) => durably.getRun(id).then(({ status }) => status)", run_id) == "cancelled"
    assert_others_go_on(follower, server, label)
    assert_cancelled(follower, server, label, run_id)
    assert sorted(page.evaluate("durably.state") for page in (leader, follower)) == ["follower", "leader"]


def test_is_cancelled_from_a_follower_that_is_reloaded_at_once(browser: Browser, server: Server) -> None:
    leader = browser.open(test_page(server, **SLOTS))
    leader.evaluate("durably.init()")
    follower = browser.open(test_page(server, **SLOTS))
    follower.wait_for_function(FOLLOW)

    follower.evaluate("durably.rejectedCalls()")  # the outbox is open then
    run_id = begin_with_others(leader, server, "reloaded")
    with follower.expect_navigation():
        follower.evaluate("(id) => { void durably.cancel(id); location.reload(); }", run_id)

    assert_others_go_on(follower, server, "reloaded")
    assert_cancelled(follower, server, "reloaded", run_id)


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
@pytest.mark.parametrize("place", ["leader", "follower"])
def test_a_job_that_swallows_its_cancellation_loses_its_slot(
    place: str, store: str, browser: Browser, server: Server
) -> None:
    leader = browser.open(test_page(server, store=store))
    leader.evaluate("durably.init()")
    label = f"stubborn-{store}-{place}"
    page = leader
    if place == "follower":
        page = browser.open(test_page(server, store=store))
        page.wait_for_function(FOLLOW)
    run = leader.evaluate("(label) => durably.jobs.stubborn.trigger(label)", label)
    server.wait_for(f"{label}/hold")
    other = leader.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 1 })", f"{label}-other")

    page.evaluate("(id) => durably.cancel(id)", run["id"])
    ended = page.evaluate("(id) => durably.waitForRun(id)", other["id"])

    assert ended["status"] == "completed"
    assert page.evaluate("(id) => durably.getRun(id).then(({ status }) => status)", run["id"]) == "cancelled"
    assert len(leader.evaluate("workers")) == 2
    assert server.journal(label) == {f"{label}/hold": 1}
    assert page.evaluate("events.filter(({ type }) => type === 'worker:error')") == []


def test_progress_is_told_about_once_a_frame(page: Page) -> None:
    run = page.evaluate("durably.jobs.chatty.trigger(20000)")
    page.evaluate("(id) => durably.waitForRun(id)", run["id"])
    events = page.evaluate("(id) => events.filter(({ runId }) => runId === id)", run["id"])
    told = [event["progress"]["current"] for event in events if event["type"] == "run:progress"]
    assert told == sorted(set(told)) and told[-1] == 20000
    assert [event["type"] for event in events][-2:] == ["run:progress", "run:complete"]
    assert len(told) <= 1.5 * events[-1]["duration"] / 16 + 2


def test_is_not_ended_for_a_run_that_waits_behind_it(browser: Browser, server: Server) -> None:
    page = browser.open(test_page(server))
    page.evaluate("durably.init()")
    busy, waiting = page.evaluate(
        "durably.jobs.compute.batchTrigger([{ label: 'before', seconds: 2 }, { label: 'behind' }])"
    )
    server.wait_for("before/compute")

    page.evaluate("(id) => durably.cancel(id, { graceMs: 0 })", waiting["id"])
    ended = page.evaluate("(id) => durably.waitForRun(id)", busy["id"])

    assert ended["leaseGeneration"] == 1
    assert page.evaluate("(id) => durably.getRun(id)", waiting["id"])["status"] == "cancelled"
    assert server.journal("before") == {"before/compute": 1, "before/rest": 1}
    assert server.journal("behind") == {}
    assert len(page.evaluate("workers")) == 1


def test_an_engine_that_answers_is_not_ended(page: Page, server: Server) -> None:
    """The store is slow to answer here, and Python waits for it: nothing is gained by another engine."""
    server.close_gate("answers/0")
    run = page.evaluate("durably.jobs.count.trigger({ label: 'answers', steps: 1 })")
    server.wait_for("answers/0")
    page.evaluate(HOLD_THE_STORE)

    page.evaluate("(id) => void (window.cancelled = durably.cancel(id, { graceMs: 0 }))", run["id"])
    page.wait_for_function("pings.length >= 2")
    page.evaluate("() => { release(); return cancelled; }")

    assert page.evaluate("(id) => durably.getRun(id)", run["id"])["status"] == "cancelled"
    assert len(page.evaluate("workers")) == 1


@pytest.mark.parametrize("grace", ["-1", "NaN", "'soon'", "null"])
def test_the_grace_is_checked(grace: str, shared_page: Page) -> None:
    error = shared_page.evaluate(f"durably.cancel('nobody', {{ graceMs: {grace} }}).catch({ERROR})")
    assert error["name"] == "ValidationError"
    assert "graceMs" in error["message"]


@pytest.mark.parametrize("slots", [1, 2])
def test_keeps_its_run_and_the_leadership_for_longer_than_a_lease(slots: int, browser: Browser, server: Server) -> None:
    options = {**SHORT_LEASES, "maxConcurrentRuns": slots}
    leader = browser.open(test_page(server, **options))
    leader.evaluate("durably.init()")
    follower = browser.open(test_page(server, **options))
    follower.wait_for_function(FOLLOW)
    labels = [f"long-{slots}-{n}" for n in range(slots)]

    runs = leader.evaluate(
        "(items) => durably.jobs.compute.batchTrigger(items)",
        [{"label": label, "seconds": THREE_LEASES_S} for label in labels],
    )
    ended = [follower.evaluate("(id) => durably.waitForRun(id)", run["id"]) for run in runs]

    assert [run["leaseGeneration"] for run in ended] == [1] * slots
    assert [server.journal(label) for label in labels] == [
        {f"{label}/compute": 1, f"{label}/rest": 1} for label in labels
    ]
    for page, state in ((leader, "leader"), (follower, "follower")):
        told = page.evaluate("states.at(-1)")
        assert (told["state"], told["epoch"]) == (state, 1)
        assert page.evaluate("events.filter(({ type }) => type === 'worker:error')") == []
    assert len(leader.evaluate("workers")) == 1


# A transaction of the page's own over everything, which lasts until `release()`, and the worker's answers to pings.
HOLD_THE_STORE = """() => new Promise((resolve, reject) => {
  window.pings = [];
  workers[0].addEventListener('message', ({ data }) => data.type === 'reply' && pings.push(data.id));
  const open = indexedDB.open('test');
  open.onerror = reject;
  open.onsuccess = () => {
    const transaction = open.result.transaction([...open.result.objectStoreNames], 'readwrite');
    let isHeld = true;
    window.release = () => { isHeld = false; };
    const hold = () => { if (isHeld) transaction.objectStore('runs').count().onsuccess = hold; };
    hold();
    resolve();
  };
})"""


def begin_with_others(page: Page, server: Server, label: str) -> str:
    """Hold two runs in their second step, then begin one that computes for ever, and return its id."""
    for other in others(label):
        server.close_gate(f"{other}/1")
        page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 3 })", other)
        server.wait_for(f"{other}/1")
    run = page.evaluate("(label) => durably.jobs.compute.trigger({ label })", label)
    server.wait_for(f"{label}/compute")
    return str(run["id"])


def assert_others_go_on(page: Page, server: Server, label: str) -> None:
    for other in others(label):
        server.wait_for(f"{other}/1", times=2)
        server.open_gate(f"{other}/1")
    page.evaluate(
        "durably.jobs.count.getRuns().then((runs) => Promise.all(runs.map(({ id }) => durably.waitForRun(id))))"
    )
    for other in others(label):
        assert server.journal(other) == {f"{other}/0": 1, f"{other}/1": 2, f"{other}/2": 1}


def assert_cancelled(page: Page, server: Server, label: str, run_id: str) -> None:
    run = page.evaluate("(id) => durably.getRun(id)", run_id)
    assert (run["status"], run["leaseGeneration"]) == ("cancelled", 1)
    assert server.journal(label) == {f"{label}/compute": 1}


def others(label: str) -> list[str]:
    return [f"other-{label}-{n}" for n in range(2)]
