"""A click is not lost with its page or with the leader, in each browser engine that can open several tabs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from e2e.conftest import test_page, unless_here
from e2e.engines import Firefox, Tab, Tabbed
from e2e.server import Server
from e2e.test_outbox import HOLD_CALLS, OUTBOX

Lose = Callable[[Tab, Tabbed, str, str], Tab]


def by_reloading(tab: Tab, browser: Tabbed, url: str, script: str) -> Tab:
    tab.run_and_reload(script)
    return tab


def by_closing(tab: Tab, browser: Tabbed, url: str, script: str) -> Tab:
    tab.evaluate(f"(void {script}, durably.rejectedCalls())")  # which reads the outbox after the call was put there
    tab.close()
    return opened(browser, url)


LOSSES = [by_reloading, by_closing]


@pytest.fixture
def label(request: pytest.FixtureRequest) -> str:
    """A label for this test's runs alone."""
    name: str = request.node.name
    return name.replace("[", "-").rstrip("]")


@pytest.mark.parametrize("lose", LOSSES)
def test_a_trigger_outlives_its_page(lose: Lose, tabbed: Tabbed, server: Server, label: str) -> None:
    url = test_page(server)
    tab = opened(tabbed, url)
    tab.evaluate("durably.init()")

    tab = lose(tab, tabbed, url, trigger(label))

    assert_ran_once(tab, server, label)


@pytest.mark.parametrize("lose", LOSSES)
def test_a_trigger_outlives_its_page_during_the_boot(lose: Lose, tabbed: Tabbed, server: Server, label: str) -> None:
    url = test_page(server)
    tab = opened(tabbed, url)
    assert tab.evaluate("states.every(({ state }) => state === 'starting')")

    tab = lose(tab, tabbed, url, trigger(label))

    assert_ran_once(tab, server, label)


@pytest.mark.parametrize("tabbed", [pytest.param(Firefox, id="firefox", marks=unless_here(Firefox))], indirect=True)
def test_a_trigger_outlives_its_page_whose_boot_is_broken_off(tabbed: Tabbed, server: Server, label: str) -> None:
    """Firefox stops loading scripts as soon as a page begins to be left, which may be long before it is."""
    url = test_page(server)
    script = "durably/pyodide/pyodide.mjs"
    server.close_gate(script)
    tab = opened(tabbed, url)
    tab.evaluate("void durably.init().catch(() => {})")
    server.wait_at(script)
    server.close_gate("index.html")

    tab.evaluate(f"(void {trigger(label)}.catch(() => {{}}), location.reload(), null)")
    server.open_gate(script)
    wait_until(tab, "workers.length > 1 || durably.state === 'failed'")
    server.open_gate("index.html")
    tab.open(url)

    assert_ran_once(tab, server, label)


@pytest.mark.parametrize("lose", LOSSES)
def test_a_trigger_outlives_its_page_while_another_tab_leads(
    lose: Lose, tabbed: Tabbed, server: Server, label: str
) -> None:
    url = test_page(server)
    leader = opened(tabbed, url)
    leader.evaluate("durably.init()")
    follower = opened(tabbed, url)
    follower.evaluate("durably.init()")

    lose(follower, tabbed, url, trigger(label))

    assert_ran_once(leader, server, label)


@pytest.mark.parametrize("lose", LOSSES)
def test_a_trigger_outlives_its_page_while_python_computes(
    lose: Lose, tabbed: Tabbed, server: Server, label: str
) -> None:
    url = test_page(server)
    tab = opened(tabbed, url)
    busy = json.dumps({"label": f"busy-{label}", "seconds": 1})
    tab.evaluate(f"durably.jobs.compute.trigger({busy})")
    server.wait_for(f"busy-{label}/compute")

    tab = lose(tab, tabbed, url, trigger(label))

    assert_ran_once(tab, server, label)


def test_a_trigger_outlives_its_page_while_the_outbox_is_in_use(tabbed: Tabbed, server: Server, label: str) -> None:
    """Chromium drops what waits for another transaction when its page goes."""
    tab = opened(tabbed, test_page(server))
    other = tabbed.new_tab()
    other.open(f"{server.url}/index.html")
    other.evaluate(HOLD_CALLS)

    tab.run_and_reload(trigger(label))
    other.evaluate("release()")

    assert_ran_once(tab, server, label)


def test_calls_of_a_page_that_is_gone_are_applied_in_order(tabbed: Tabbed, server: Server) -> None:
    tab = opened(tabbed, test_page(server))

    tab.run_and_reload("for (let n = 0; n < 20; n++) durably.jobs.anything.trigger(n)")
    tab.evaluate("durably.init()")
    wait_until(tab, "(await durably.getRuns()).filter(({ status }) => status === 'completed').length === 20")

    assert tab.evaluate("durably.getRuns().then((runs) => runs.map(({ input }) => input))") == [*range(19, -1, -1)]
    assert_empty(tab)


def test_a_reply_lost_with_its_leader_is_given_again(tabbed: Tabbed, server: Server, label: str) -> None:
    server.close_gate(f"kill/{label}")
    server.close_gate(f"{label}/0")
    url = f"{server.url}/kills.html?store=indexeddb"
    leader = opened(tabbed, f"{url}&round={label}&point=replying&after=0")
    leader.evaluate("durably.init().then(() => null)")
    follower = opened(tabbed, url)
    wait_until(follower, "durably.state === 'follower'")
    input = json.dumps({"label": label, "steps": 2})
    follower.evaluate(f"void (window.answer = durably.jobs.count.trigger({input}, {{ idempotencyKey: 'lost' }}))")
    server.wait_for(f"reached/{label}")
    lost = server.entries(f"reply/{label}")

    leader.close()
    answer = follower.evaluate("answer.then(JSON.stringify)")
    server.open_gate(f"{label}/0")
    assert isinstance(answer, str)
    run = json.loads(answer)
    total = follower.evaluate(f"durably.waitForRun('{run['id']}').then(({{ output }}) => output.total)")

    assert lost == [f"reply/{label}/{answer}"]
    assert (run["disposition"], run["status"], total) == ("created", "pending", 1)
    assert follower.evaluate("durably.getRuns().then((runs) => runs.map(({ id }) => id))") == [run["id"]]
    assert server.journal(label)[f"{label}/1"] == 1


def opened(browser: Tabbed, url: str) -> Tab:
    """Open a page in a new tab, and see its outbox open."""
    tab = browser.new_tab()
    tab.open(url)
    tab.evaluate("durably.rejectedCalls()")
    return tab


def trigger(label: str) -> str:
    return f"durably.jobs.count.trigger({json.dumps({'label': label, 'steps': 2})})"


def assert_ran_once(tab: Tab, server: Server, label: str) -> None:
    """Wait for the run with the label, which has to be the only one, and for its call to have left the outbox."""
    tab.evaluate("durably.init()")
    with_label = f"(await durably.getRuns({{ jobName: 'count' }})).filter(({{ input }}) => input.label === '{label}')"
    wait_until(tab, f"{with_label}[0]?.status === 'completed'")
    assert set(server.journal(label)) == {f"{label}/0", f"{label}/1"}
    assert tab.evaluate(f"(async () => {with_label}.length)()") == 1
    assert_empty(tab)


def assert_empty(tab: Tab) -> None:
    """Wait until nothing is left in the outbox."""
    wait_until(tab, f"(await ({OUTBOX})()).length === 0")


def wait_until(tab: Tab, condition: str) -> None:
    """Wait for a condition that may await something itself."""
    tab.evaluate(
        f"(async () => {{ while (!({condition})) await new Promise((resolve) => setTimeout(resolve, 20)); }})()"
    )
