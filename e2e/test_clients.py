"""The client's members, as users of upstream's know them: jobs, listeners, waits, several clients of a database."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.server import Server
from e2e.test_outbox import wait_until

ERROR = "({ name, message }) => ({ name, message })"
STOPPED = "This engine was stopped; create a new one to go on"
SECOND = "() => void (window.second = createDurably({ database: 'test', jobs: './jobs.py' }))"
FREE = "(await navigator.locks.query()).held.every(({ name }) => name !== 'durably:test')"

stores = pytest.mark.parametrize("store", ["indexeddb", "sqlite"])


class TestJobs:
    @pytest.mark.parametrize(
        "name", ["constructor", "toString", "valueOf", "hasOwnProperty", "__proto__", "isPrototypeOf", "toJSON", "name"]
    )
    def test_answer_to_names_that_every_object_has(self, name: str, shared_page: Page) -> None:
        told = shared_page.evaluate(
            f"(name) => durably.jobs[name].trigger(1).catch({ERROR}).then((told) => [durably.jobs[name].name, told])",
            name,
        )
        assert told[0] == name
        assert told[1]["name"] == "NotFoundError"

    def test_are_no_promise(self, shared_page: Page) -> None:
        assert shared_page.evaluate("(async () => (await durably.jobs) === durably.jobs)()")
        assert shared_page.evaluate("[durably.jobs.then, durably.jobs[Symbol.iterator]]") == [None, None]
        assert shared_page.evaluate("Object.prototype.toString.call(durably.jobs)") == "[object Jobs]"

    def test_are_listed_by_their_keys(self, shared_page: Page) -> None:
        shared_page.evaluate("durably.jobs.nowhere; durably.register({ turn: { name: 'spin' } }); null")
        keys = shared_page.evaluate("Object.keys(durably.jobs)")
        assert {"turn", "spin", "count"} <= set(keys)
        assert "nowhere" not in keys and len(keys) == len(set(keys))
        assert shared_page.evaluate("['count' in durably.jobs, 'then' in durably.jobs]") == [True, False]
        assert shared_page.evaluate("Object.entries(durably.jobs).every(([key, job]) => durably.jobs[key] === job)")

    def test_are_the_same_handle_each_time(self, shared_page: Page) -> None:
        same = shared_page.evaluate(
            """() => {
              const stub = { name: 'spin', run() {} };
              const one = durably.register({ _job: stub }).jobs._job;
              const other = durably.register({ another: stub }).jobs.another;
              durably.register({ _job: { name: 'count', run() {} } });
              return [
                one === other,
                one === durably.getJob('spin'),
                durably.register({ _job: stub }).jobs._job === one,
                durably.getJob('count') === durably.getJob('count'),
                durably.getJob('count') !== one,
                durably.jobs.echo === durably.jobs.echo,
              ];
            }"""
        )
        assert same == [True] * 6


class TestListeners:
    """Pure: an engine is not needed for what `listeners.js` does."""

    TOLD = """async () => {
      const { Listeners } = await import('./durably/page/listeners.js');
      const [listeners, told] = [new Listeners(), []];
      const say = (word) => () => told.push(word);
      %s
      await new Promise((resolve) => setTimeout(resolve));
      return told;
    }"""

    @pytest.mark.parametrize(
        ("script", "told"),
        [
            (
                "listeners.add('*', say(1)); listeners.add('a', say(2)); listeners.add('*', say(3));"
                " listeners.add('b', say(4));"
                " listeners.add('a', say(5)); listeners.tell('a', {});",
                [1, 2, 3, 5],
            ),
            ("listeners.add('*', say(1)); listeners.add('state', say(2)); listeners.tell('state', {});", [2]),
            (
                "listeners.add('a', () => { told.push(1); undo(); }); const undo = listeners.add('a', say(2));"
                " listeners.add('*', say(3)); listeners.tell('a', {}); listeners.tell('a', {});",
                [1, 3, 1, 3],
            ),
            (
                "listeners.add('a', () => { told.push(1); undo(); }); const undo = listeners.add('*', say(2));"
                " listeners.tell('a', {});",
                [1],
            ),
            (
                "const undo = listeners.add('a', () => { told.push(1); undo(); }); listeners.add('a', say(2));"
                " listeners.tell('a', {}); listeners.tell('a', {});",
                [1, 2, 2],
            ),
            (
                "listeners.add('a', () => { told.push(1); listeners.add('a', say(2)); }); listeners.tell('a', {});"
                " told.push('next'); listeners.tell('a', {});",
                [1, "next", 1, 2],
            ),
            ("const one = say(1); listeners.add('a', one); listeners.add('a', one); listeners.tell('a', {});", [1]),
            (
                "const one = say(1); const undo = listeners.add('a', one); undo(); undo(); listeners.add('a', one);"
                " undo(); listeners.tell('a', {});",
                [1],
            ),
            ("const undo = listeners.add('a', say(1), [{}, {}]); undo();", []),
            ("listeners.add('a', say(1), [{}, {}]); told.push(0);", [0, 1, 1]),
            (
                "listeners.onError((error, { type }) => told.push(`${error} in ${type}`));"
                " listeners.add('a', () => { throw 'thrown'; }); listeners.add('a', async () => { throw 'rejected'; });"
                " listeners.add('a', () => ({ then: (_, reject) => reject('thenable') })); listeners.add('a', say(1));"
                " listeners.add('a', () => ({ get then() { throw 'getter'; } }));"
                " listeners.tell('a', { type: 'a' });",
                ["thrown in a", 1, "getter in a", "rejected in a", "thenable in a"],
            ),
            (
                "window.reportError = say('reported'); listeners.add('a', async () => { throw 1; });"
                " listeners.add('a', () => { throw 2; }); listeners.tell('a', {}); told.push('then');",
                ["reported", "then", "reported"],
            ),
            (
                "window.reportError = say('reported'); listeners.onError(() => { throw 1; });"
                " listeners.add('a', () => { throw 2; }); listeners.add('a', say('next')); listeners.tell('a', {});",
                ["reported", "next"],
            ),
            (
                "window.reportError = say('reported'); listeners.onError(say('lost')); listeners.onError(null);"
                " listeners.add('a', () => { throw 2; }); listeners.tell('a', {});",
                ["reported"],
            ),
        ],
    )  # fmt: skip
    def test_are_called_in_order(self, script: str, told: list[object], shared_page: Page) -> None:
        shared_page.evaluate("window.report ??= reportError; null")
        assert shared_page.evaluate(self.TOLD % script) == told
        shared_page.evaluate("window.reportError = report; null")

    def test_of_a_client_hear_an_event_in_the_order_in_which_they_were_added(self, shared_page: Page) -> None:
        told = shared_page.evaluate(
            """async () => {
              const told = [];
              const later = [];
              durably.onError((error) => told.push(error.message));
              const undo = [
                durably.on('run:trigger', () => {
                  told.push('first');
                  undo[3]();
                  later.push(durably.on('*', () => told.push('late')));
                }),
                durably.on('*', ({ type }) => type === 'run:trigger' && told.push('all')),
                durably.on('run:trigger', async () => { throw new Error('rejected'); }),
                durably.on('run:trigger', () => told.push('removed')),
                durably.on('run:trigger', () => told.push('last')),
              ];
              const heard = new Promise((resolve) => undo.push(durably.on('run:trigger', () => setTimeout(resolve))));
              await durably.jobs.spin.trigger(1);
              await heard;
              [...undo, ...later].forEach((end) => end());
              durably.onError(null);
              return told;
            }"""
        )  # fmt: skip
        assert told[:4] == ["first", "all", "last", "rejected"]
        assert not {"removed", "late"} & set(told)


class TestWaiting:
    @pytest.mark.parametrize(
        "timeout",
        ["0", "0.5", "1", "25 * 86400e3", "2 ** 31", "1e15", "Number.MAX_VALUE", "Infinity", "null", "undefined"],
    )
    def test_any_timeout_settles_with_a_run_that_has_ended(self, timeout: str, shared_page: Page) -> None:
        output = shared_page.evaluate(
            f"""async () => {{
              const {{ id }} = await durably.jobs.spin.triggerAndWait(1, {{ timeout: null, pollingIntervalMs: 5 }});
              return (await durably.waitForRun(id, {{ timeout: {timeout} }})).output;
            }}"""
        )
        assert output == 1

    @pytest.mark.parametrize("timeout", ["25 * 86400e3", "2 ** 31", "2 ** 32 + 1", "Infinity", "null"])
    def test_a_long_timeout_waits(self, timeout: str, page: Page, server: Server) -> None:
        server.close_gate("long/0")
        page.evaluate(
            f"""async () => {{
              const {{ id }} = await durably.jobs.count.trigger({{ label: 'long', steps: 1 }});
              window.waiting = durably.waitForRun(id, {{ timeout: {timeout} }}).then(({{ status }}) => status, {ERROR});
              window.short = await durably.waitForRun(id, {{ timeout: 0 }}).catch({ERROR});
            }}"""
        )
        server.open_gate("long/0")
        assert page.evaluate("waiting") == "completed"
        assert page.evaluate("short.name") == "WaitTimeoutError"

    @pytest.mark.parametrize("member", ["timeout", "pollingIntervalMs"])
    @pytest.mark.parametrize(
        "value", ["NaN", "-1", "-Infinity", "'5'", "'soon'", "true", "5n", "[]", "{}", "new Date()"]
    )
    def test_what_is_no_duration_is_refused(self, member: str, value: str, shared_page: Page) -> None:
        told = shared_page.evaluate(
            f"""async () => {{
              const before = (await durably.getRuns()).length;
              const told = await Promise.all([
                durably.waitForRun('nobody', {{ {member}: {value} }}).catch({ERROR}),
                durably.jobs.spin.triggerAndWait(1, {{ {member}: {value} }}).catch({ERROR}),
              ]);
              return [...told, (await durably.getRuns()).length - before];
            }}"""
        )
        assert [error["name"] for error in told[:2]] == ["ValidationError"] * 2
        assert all(member in error["message"] for error in told[:2])
        assert told[2] == 0

    @pytest.mark.parametrize("value", ["0", "Infinity"])
    def test_a_polling_interval_is_above_0_and_finite(self, value: str, shared_page: Page) -> None:
        told = shared_page.evaluate(f"durably.waitForRun('nobody', {{ pollingIntervalMs: {value} }}).catch({ERROR})")
        assert told["name"] == "ValidationError"

    def test_a_listener_that_is_none_is_refused(self, shared_page: Page) -> None:
        told = shared_page.evaluate(f"durably.waitForRun('nobody', {{ onProgress: 5 }}).catch({ERROR})")
        assert told == {"name": "ValidationError", "message": "onProgress must be a function, not 5"}

    def test_a_timer_waits_longer_than_the_browser_can(self, shared_page: Page) -> None:
        waited = shared_page.evaluate(
            """async () => {
              const { after } = await import('./durably/page/durations.js');
              const [real, waits] = [window.setTimeout, []];
              window.setTimeout = (action, ms) => { waits.push(ms); real(action); return 0; };
              await new Promise((resolve) => after(2 ** 32 + 5, resolve));
              await new Promise((resolve) => after(7, resolve));
              window.setTimeout = real;
              return waits;
            }"""
        )
        longest = 2**31 - 1
        assert waited == [longest, longest, 7, 7]


class TestSeveralClients:
    def test_stopping_one_leaves_the_other(self, page: Page) -> None:
        page.evaluate(SECOND)
        page.evaluate("() => { window.seconds = []; second.on('state', ({ state }) => seconds.push(state)); }")

        page.evaluate("second.stop()")

        assert page.evaluate("[second.state, durably.state, seconds, workers.length]") == [
            "stopped",
            "leader",
            ["stopped"],
            1,
        ]
        rejected = page.evaluate(
            f"""() => Promise.all([
              second.init(), second.getRuns(), second.getRun('x'), second.waitForRun('x'), second.jobs.spin.trigger(1),
              second.jobs.spin.getRuns(), second.cancel('x'), second.retrigger('x'), second.deleteRun('x'),
              second.purgeRuns({{ olderThan: new Date() }}), second.exportDatabase(), second.storage.getLogs('x'),
              second.subscribe('x').getReader().read(),
            ].map((call) => call.catch({ERROR})))"""
        )
        assert rejected == [{"name": "DurablyError", "message": STOPPED}] * 13
        assert page.evaluate("durably.jobs.spin.triggerAndWait(1).then(({ output }) => output)") == 1
        page.evaluate("second.stop()")

        page.evaluate("durably.stop()")
        wait_until(page, FREE)
        assert page.evaluate("durably.init().catch(({ message }) => message)") == STOPPED

    def test_what_one_waits_for_rejects_when_it_is_stopped(self, page: Page, server: Server) -> None:
        server.close_gate("stopped/0")
        page.evaluate(SECOND)
        page.evaluate(
            f"""async () => {{
              const {{ id }} = await second.jobs.count.trigger({{ label: 'stopped', steps: 1 }});
              window.mine = second.waitForRun(id).catch({ERROR});
              window.stream = (async () => {{ for await (const _ of second.subscribe(id)); }})().catch({ERROR});
              window.other = durably.waitForRun(id).then(({{ status }}) => status);
            }}"""
        )
        server.wait_for("stopped/0")

        page.evaluate("second.stop()")

        assert (
            page.evaluate("Promise.all([mine, stream]).then((told) => told.map(({ message }) => message))")
            == [STOPPED] * 2
        )
        server.open_gate("stopped/0")
        assert page.evaluate("other") == "completed"

    def test_the_engine_stops_with_the_last(self, page: Page) -> None:
        page.evaluate(SECOND)
        page.evaluate("Promise.all([durably.stop(), second.stop(), durably.stop()])")
        assert page.evaluate("[durably.state, second.state]") == ["stopped", "stopped"]
        wait_until(page, FREE)

    @stores
    def test_one_that_is_created_later_begins_anew(self, store: str, browser: Browser, server: Server) -> None:
        page = browser.open(test_page(server, store=store))
        page.evaluate("durably.jobs.spin.triggerAndWait(1)")
        for round in range(2, 4):
            page.evaluate("durably.stop()")
            page.evaluate("(store) => open({ store })", store)
            assert page.evaluate("durably.jobs.spin.triggerAndWait(2).then(({ output }) => output)") == 2
            assert page.evaluate("durably.getRuns().then((runs) => runs.length)") == round
        assert page.evaluate("[durably.state, states.at(-1).epoch]") == ["leader", 3]

    @stores
    def test_one_that_is_created_at_once_waits_for_the_end(self, store: str, browser: Browser, server: Server) -> None:
        server.close_gate(f"ending-{store}/0")
        page = browser.open(test_page(server, store=store))
        page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 1 })", f"ending-{store}")
        server.wait_for(f"ending-{store}/0")

        page.evaluate("() => { window.first = durably; window.stopped = first.stop(); }")
        page.evaluate("(store) => open({ store })", store)
        triggered = page.evaluate("() => { window.triggered = durably.jobs.spin.triggerAndWait(2); }")
        assert triggered is None
        page.wait_for_function("durably.state === 'follower'")
        server.open_gate(f"ending-{store}/0")

        page.evaluate("stopped")
        assert page.evaluate("triggered.then(({ output }) => output)") == 2
        assert page.evaluate("[first.state, durably.state, states.at(-1).epoch]") == ["stopped", "leader", 2]
        assert page.evaluate("durably.getRuns({ status: 'completed' }).then((runs) => runs.length)") == 2
        assert server.journal(f"ending-{store}") == {f"ending-{store}/0": 1}

    @stores
    def test_one_is_stopped_and_created_in_one_task(self, store: str, browser: Browser, server: Server) -> None:
        page = browser.open(f"{server.url}/index.html")
        page.evaluate(
            """(store) => {
              for (let n = 0; n < 3; n++) {
                open({ store });
                if (n < 2) durably.stop();
              }
            }""",
            store,
        )
        assert page.evaluate("durably.jobs.spin.triggerAndWait(2).then(({ output }) => output)") == 2
        assert page.evaluate("durably.state") == "leader"

    def test_one_that_is_stopped_shows_to_be_alive_no_more(self, page: Page) -> None:
        tabs = "navigator.locks.query().then(({ held }) => held.filter(({ name }) => name.includes(':tab:')).length)"
        page.evaluate("durably.stop()")
        page.evaluate("open(); durably.init()")
        page.evaluate("durably.stop()")
        wait_until(page, f"(await {tabs}) === 0")


def test_a_page_over_plain_http_is_told_what_it_needs(launch: Callable[..., Browser], server: Server) -> None:
    browser = launch(flags=["--host-resolver-rules=MAP lan.test 127.0.0.1"])
    page = browser.open(
        server.url.replace("127.0.0.1", "lan.test") + "/index.html", expected=lambda trouble: "lan.test" in trouble
    )
    assert page.evaluate("isSecureContext") is False
    error = page.evaluate(f"() => {{ try {{ open(); }} catch (error) {{ return ({ERROR})(error); }} }}")
    assert error["name"] == "SecurityError"
    assert (
        "createDurably: http://lan.test:" in error["message"]
        and "HTTPS" in error["message"]
        and "localhost" in error["message"]
    )
