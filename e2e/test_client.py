"""The page's client against a running engine."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from e2e.server import Server

ERROR = "({ name, message }) => ({ name, message })"


def count(page: Page, label: str, steps: int) -> dict[str, object]:
    run: dict[str, object] = page.evaluate(
        "async (input) => durably.waitForRun((await durably.jobs.count.trigger(input)).id)",
        {"label": label, "steps": steps},
    )
    return run


def test_a_trigger_returns_the_new_run(page: Page) -> None:
    run = page.evaluate(
        "durably.jobs.echo.trigger({ when: '2026-01-01T00:00:00Z' },"
        " { labels: { source: 'test' }, idempotencyKey: 'k' })"
    )
    assert run["status"] == "pending" and run["disposition"] == "created"
    assert run["jobName"] == "echo" and run["labels"] == {"source": "test"} and run["output"] is None
    again = page.evaluate("durably.jobs.echo.trigger({ when: '2027-01-01T00:00:00Z' }, { idempotencyKey: 'k' })")
    assert again["id"] == run["id"] and again["disposition"] == "idempotent"


def test_events_come_in_order_each_once(page: Page) -> None:
    run = count(page, "events", 2)
    events = page.evaluate("(id) => events.filter(({ runId }) => runId === id)", run["id"])
    types = [event["type"] for event in events if event["type"] != "run:progress"]
    step = ["step:start", "step:complete", "log:write"]
    assert types == ["run:trigger", "run:leased", *step, *step, "run:complete"]
    sequence = [event["sequence"] for event in events]
    assert sequence == sorted(set(sequence))
    assert events[-1]["output"] == {"total": 1}
    progress = [event["progress"] for event in events if event["type"] == "run:progress"]
    assert progress[-1] == {"current": 2, "total": 2, "message": "Counting"}


def test_the_reply_comes_before_the_run_is_leased(page: Page) -> None:
    order = page.evaluate(
        """async () => {
            const order = [];
            durably.on('run:leased', () => order.push('leased'));
            const done = new Promise((resolve) => durably.on('run:complete', resolve));
            await durably.jobs.spin.trigger(1);
            order.push('reply');
            await done;
            return order;
        }"""
    )
    assert order == ["reply", "leased"]


def test_a_wrong_input_names_its_fields_and_stores_nothing(page: Page) -> None:
    error = page.evaluate(f"durably.jobs.count.trigger({{ label: '', steps: 'many' }}).catch({ERROR})")
    assert error["name"] == "ValidationError"
    assert "label:" in error["message"] and "steps:" in error["message"] and "'count'" in error["message"]
    assert page.evaluate("durably.getRuns()") == []


@pytest.mark.parametrize(
    ("call", "name", "message"),
    [
        ("durably.jobs.nowhere.trigger({})", "NotFoundError", "nowhere"),
        ("durably.jobs.spin.trigger(1, { colour: 'red' })", "ValidationError", "colour"),
        ("durably.jobs.spin.trigger(1, { labels: { 'a b': 'c' } })", "ValidationError", "a b"),
        ("durably.jobs.spin.trigger(1, { coalesce: 'skip' })", "ValidationError", "concurrency_key"),
        ("durably.getRuns({ limit: -1 })", "ValidationError", "limit"),
        ("durably.getRuns({ colour: 'red' })", "ValidationError", "colour"),
        ("durably.cancel('nobody')", "NotFoundError", "nobody"),
        ("durably.waitForRun('nobody')", "NotFoundError", "nobody"),
    ],
)
def test_errors_keep_their_name(call: str, name: str, message: str, shared_page: Page) -> None:
    error = shared_page.evaluate(f"{call}.catch({ERROR})")
    assert error["name"] == name and message in error["message"]


def test_files_and_bytes_travel_as_text(page: Page) -> None:
    output = page.evaluate(
        """async () => {
            const input = { when: '2026-01-01T00:00:00Z', content: new File([new Uint8Array([0, 255, 128])], 'x') };
            return (await durably.waitForRun((await durably.jobs.echo.trigger(input)).id)).output;
        }"""
    )
    assert output["content"] == "AP-A"


def test_payloads_are_what_python_wrote(page: Page) -> None:
    value = {"b": [1, 2.5, None, True, "é\u0000😀"], "a": {"snake_case": 1, "": []}}
    run = page.evaluate("async (value) => durably.waitForRun((await durably.jobs.anything.trigger(value)).id)", value)
    assert run["output"] == value and list(run["output"]) == ["b", "a"]


def test_an_unstorable_result_fails_the_step_and_names_it(page: Page) -> None:
    error = page.evaluate(
        f"durably.jobs.unstorable.trigger().then(({{ id }}) => durably.waitForRun(id)).catch({ERROR})"
    )
    assert error["name"] == "RunFailedError"
    assert "'not-a-number'" in error["message"] and "float nan" in error["message"]


def test_cancelling_stops_a_run_that_waits(page: Page, server: Server) -> None:
    server.close_gate("cancelled/1")
    run = page.evaluate("durably.jobs.count.trigger({ label: 'cancelled', steps: 3 })")
    server.wait_for("cancelled/1")
    waiting = f"window.waiting = durably.waitForRun('{run['id']}').catch({ERROR}); null"
    page.evaluate(waiting)
    page.evaluate("(id) => durably.cancel(id)", run["id"])
    assert page.evaluate("waiting")["name"] == "RunCancelledError"
    page.wait_for_function("events.some(({ type }) => type === 'step:cancel')")
    assert page.evaluate("(id) => durably.getRun(id)", run["id"])["status"] == "cancelled"
    assert server.journal("cancelled") == {"cancelled/0": 1, "cancelled/1": 1}
    again = page.evaluate(f"durably.cancel('{run['id']}').catch({ERROR})")
    assert again["name"] == "ConflictError"
    server.open_gate("cancelled/1")


def test_waiting_gives_up_after_its_timeout(page: Page, server: Server) -> None:
    server.close_gate("slow/0")
    error = page.evaluate(
        "durably.jobs.count.trigger({ label: 'slow', steps: 1 })"
        f".then(({{ id }}) => durably.waitForRun(id, {{ timeout: 50 }})).catch({ERROR})"
    )
    assert error["name"] == "WaitTimeoutError"
    server.open_gate("slow/0")
    page.wait_for_function("events.some(({ type }) => type === 'run:complete')")


def test_runs_are_listed_newest_first_by_filter(page: Page) -> None:
    ids = [count(page, f"list-{number}", 1)["id"] for number in range(3)]
    page.evaluate("durably.jobs.unstorable.trigger().then(({ id }) => durably.waitForRun(id)).catch(() => null)")
    listed = "(filter) => durably.getRuns(filter).then((runs) => runs.map(({ id }) => id))"
    assert page.evaluate(listed, {"jobName": "count"}) == ids[::-1]
    assert page.evaluate(listed, {"status": ["completed"], "limit": 1, "offset": 1}) == [ids[1]]
    assert len(page.evaluate(listed, {})) == 4
    logs = page.evaluate("(id) => durably.storage.getLogs(id)", ids[0])
    assert [line["message"] for line in logs] == ["Counted 0"]


def test_clients_of_one_database_share_a_worker(page: Page) -> None:
    page.evaluate("window.second = createDurably({ database: 'test', jobs: './jobs.py' })")
    assert page.evaluate("second.state") == "leader"
    assert page.evaluate("workers.length") == 1


def test_a_listener_that_throws_stops_nobody_else(page: Page) -> None:
    heard = page.evaluate(
        """async () => {
            const heard = [];
            durably.onError((error, event) => heard.push(`${error.message} in ${event.type}`));
            durably.on('run:trigger', () => { throw new Error('oops'); });
            durably.on('run:trigger', () => heard.push('second'));
            const { id } = await durably.jobs.spin.trigger(1);
            await durably.waitForRun(id);
            return heard;
        }"""
    )
    assert heard == ["oops in run:trigger", "second"]


def test_stop_ends_the_engine_and_frees_the_lock(page: Page) -> None:
    page.evaluate("durably.stop()")
    assert page.evaluate("durably.state") == "stopped"
    error = page.evaluate(f"durably.getRuns().catch({ERROR})")
    assert "was stopped" in error["message"]
    page.evaluate("window.open(); durably.init()")
    assert page.evaluate("states.at(-1).epoch") == 2
