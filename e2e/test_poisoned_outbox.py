"""An entry of the outbox that cannot be applied is set aside as a rejected call, and stops no other."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server
from e2e.test_outbox import wait_until

# What may lie there as a call, made by another version of the page, or by what JSON cannot say.
CALLS = {
    "a BigInt": "{ method: 'trigger', params: { job: { name: 'anything' }, input: 1n, options: {} } }",
    "a cycle": "(() => { const input = {}; input.self = input;"
    " return { method: 'trigger', params: { job: { name: 'anything' }, input, options: {} } }; })()",
    "too deep": "(() => { let input = 1; for (let n = 0; n < 1500; n++) input = [input];"
    " return { method: 'trigger', params: { job: { name: 'anything' }, input, options: {} } }; })()",
    "an unknown method": "{ method: 'explode', params: {} }",
    "a method that is no changing one": "{ method: 'stop', params: {} }",
    "no method": "{ params: {} }",
    "a method that is no text": "{ method: { of: 'what' }, params: {} }",
    "no params": "{ method: 'trigger' }",
    "params of null": "{ method: 'trigger', params: null }",
    "params of another shape": "{ method: 'trigger', params: { id: 1 } }",
    "a list for params": "{ method: 'cancel', params: [1] }",
    "an id that is no text": "{ method: 'cancel', params: { id: { a: 1 } } }",
    "a batch that is none": "{ method: 'batchTrigger', params: { job: { name: 'anything' }, items: 5 } }",
    "a time that is none": "{ method: 'purgeRuns', params: { olderThan: 'yesterday' } }",
    "a validator that exits": "{ method: 'trigger', params: { job: { name: 'exits' }, input: 1, options: {} } }",
    "an error that cannot be shown": "{ method: 'trigger', params: { job: { name: 'exits' }, input: 2, options: {} } }",
    "half a surrogate pair": "{ method: 'trigger', params: { job: { name: '\\ud800' }, input: 1, options: {} } }",
}
PUT = """async ([calls, tab]) => {
  const { Outbox } = await import('./durably/shared/outbox.js');
  const outbox = await Outbox.open('test');
  let number = 0;
  for (const call of calls) {
    number += 1;
    await outbox.put({ tab, number, call: { type: 'call', id: `${tab}-${number}`, ...(0, eval)(`(${call})`) } });
  }
  const params = { job: { name: 'spin' }, input: 1, options: {} };
  await outbox.put({ tab, number: number + 1, call: { type: 'call', id: `${tab}-good`, method: 'trigger', params } });
}"""
# Show a tab to be alive that has no page.
SHOW_ALIVE = (
    "() => import('./durably/shared/tabs.js').then(({ showAlive }) => showAlive('test', 'alive')).then(() => {})"
)


@pytest.mark.parametrize("store", ["indexeddb", "sqlite"])
@pytest.mark.parametrize("when", ["before the boot", "at work"])
def test_what_a_closed_tab_left_is_set_aside(store: str, when: str, browser: Browser, server: Server) -> None:
    page = browser.open(f"{server.url}/index.html" if when == "before the boot" else test_page(server, store=store))
    if when == "at work":
        page.evaluate("durably.init()")
    page.evaluate(PUT, [list(CALLS.values()), "gone"])
    if when == "before the boot":
        page.evaluate("(store) => open({ store })", store)

    wait_until(page, f"(await durably.rejectedCalls()).length === {len(CALLS)}")

    assert page.evaluate("durably.jobs.spin.triggerAndWait(2).then(({ output }) => output)") == 2
    assert page.evaluate("durably.getRuns().then((runs) => runs.map(({ input }) => input))") == [2, 1]
    told = page.evaluate("events.filter(({ type, context }) => type === 'worker:error' && context === 'outbox').length")
    assert told == len(CALLS)
    forget_all(page)


def test_what_is_no_call_at_all_is_set_aside(browser: Browser, server: Server) -> None:
    page = browser.open(f"{server.url}/index.html")
    page.evaluate(
        """async () => {
          const { Outbox } = await import('./durably/shared/outbox.js');
          const outbox = await Outbox.open('test');
          const calls = [undefined, null, 'trigger', 5, {}, { id: 7, method: 'cancel', params: { id: 'x' } }];
          await Promise.all(calls.map((call, number) => outbox.put({ tab: 'gone', number, call })));
          await outbox.put({ tab: 'gone', number: 99 });
        }"""
    )
    page.evaluate("open()")

    wait_until(page, "(await durably.rejectedCalls()).length === 7")

    assert page.evaluate("durably.jobs.spin.triggerAndWait(2).then(({ output }) => output)") == 2
    forget_all(page)


@pytest.mark.parametrize("when", ["before the boot", "at work"])
def test_what_a_living_tab_has_there_stops_no_other(when: str, browser: Browser, server: Server) -> None:
    page = browser.open(f"{server.url}/index.html" if when == "before the boot" else test_page(server))
    page.evaluate(SHOW_ALIVE)
    if when == "at work":
        page.evaluate("durably.init()")
    page.evaluate(PUT, [list(CALLS.values()), "alive"])
    if when == "before the boot":
        page.evaluate("open()")

    wait_until(page, "(await durably.getRuns()).length === 1")
    assert page.evaluate("durably.jobs.spin.triggerAndWait(2).then(({ output }) => output)") == 2
    assert page.evaluate("durably.state") == "leader"


def forget_all(page: Page) -> None:
    page.evaluate(
        "durably.rejectedCalls().then((calls) => Promise.all(calls.map(({ id }) => durably.forgetRejectedCall(id))))"
    )
    assert page.evaluate("durably.rejectedCalls()") == []
