"""The client's members that manage runs: batches, repetition, deletion, following."""

from __future__ import annotations

from playwright.sync_api import Page

from e2e.server import Server

ERROR = "({ name, message }) => ({ name, message })"


def ended(page: Page, label: str) -> str:
    run_id: str = page.evaluate(
        """async (label) => {
            const { id } = await durably.jobs.count.trigger({ label, steps: 1 }, { labels: { kind: 'test' } });
            return (await durably.waitForRun(id)).id;
        }""",
        label,
    )
    return run_id


def test_trigger_and_wait_gives_the_output(page: Page) -> None:
    result = page.evaluate(
        """async () => {
            const heard = [];
            const onProgress = ({ current }) => heard.push(current);
            const onLog = ({ message }) => heard.push(message);
            const result = await durably.jobs.count.triggerAndWait({ label: 'wait', steps: 2 }, { onProgress, onLog });
            return { ...result, heard };
        }"""
    )
    assert result["output"] == {"total": 1} and result["disposition"] == "created"
    assert {"Counted 0", "Counted 1", 2} <= set(result["heard"])


def test_a_job_is_found_by_its_name(page: Page) -> None:
    name, output = page.evaluate(
        """async () => {
            const job = durably.getJob('spin');
            return [durably.jobs.spin.name, (await job.triggerAndWait(2)).output];
        }"""
    )
    assert (name, output) == ("spin", 2)
    error = page.evaluate(f"durably.getJob('nowhere').trigger().catch({ERROR})")
    assert error["name"] == "NotFoundError" and "nowhere" in error["message"]


def test_stubs_give_jobs_other_keys(page: Page) -> None:
    output = page.evaluate(
        """async () => {
            const stub = { name: 'spin', run() {} };
            const registered = durably.register({ turn: stub }).register({ again: stub });
            return [(await registered.jobs.turn.triggerAndWait(1)).output, registered.jobs.again.name];
        }"""
    )
    assert output == [1, "spin"]


def test_a_batch_is_stored_whole_or_not_at_all(page: Page) -> None:
    error = page.evaluate(
        f"durably.jobs.count.batchTrigger([{{ label: 'a', steps: 1 }}, {{ label: 'b', steps: 0 }}]).catch({ERROR})"
    )
    assert error["name"] == "ValidationError" and "at index 1" in error["message"] and "steps" in error["message"]
    assert page.evaluate("durably.getRuns()") == []
    assert page.evaluate("durably.jobs.count.batchTrigger([])") == []
    runs = page.evaluate(
        """async () => {
            const { triggerItem } = await import('./durably/page/index.js');
            return durably.jobs.count.batchTrigger([
                { label: 'a', steps: 1 },
                triggerItem({ label: 'b', steps: 1 }, { labels: { kind: 'second' }, concurrencyKey: 'k' }),
            ]);
        }"""
    )
    assert [run["input"]["label"] for run in runs] == ["a", "b"]
    assert [run["labels"] for run in runs] == [{}, {"kind": "second"}]


def test_a_job_sees_its_own_runs_only(page: Page) -> None:
    run_id = ended(page, "own")
    found = page.evaluate("(id) => Promise.all([durably.jobs.count.getRun(id), durably.jobs.spin.getRun(id)])", run_id)
    assert found[0]["id"] == run_id and found[1] is None
    assert page.evaluate("durably.jobs.spin.getRuns()") == []
    assert len(page.evaluate("durably.jobs.count.getRuns({ labels: { kind: 'test' } })")) == 1


def test_an_ended_run_is_triggered_again(page: Page) -> None:
    run_id = ended(page, "again")
    again = page.evaluate("(id) => durably.retrigger(id)", run_id)
    assert again["id"] != run_id and again["labels"] == {"kind": "test"}
    output = page.evaluate("(id) => durably.waitForRun(id).then(({ output }) => output)", again["id"])
    assert output == {"total": 0}


def test_ended_runs_are_deleted_and_purged(page: Page, server: Server) -> None:
    first, second = ended(page, "first"), ended(page, "second")
    page.evaluate("(id) => durably.deleteRun(id)", first)
    assert page.evaluate("(id) => durably.getRun(id)", first) is None
    assert page.evaluate("(id) => durably.storage.getLogs(id)", first) == []
    page.wait_for_function("events.some(({ type }) => type === 'run:delete')")

    server.close_gate("running/0")
    running = page.evaluate("durably.jobs.count.trigger({ label: 'running', steps: 1 })")["id"]
    server.wait_for("running/0")
    error = page.evaluate(f"durably.deleteRun('{running}').catch({ERROR})")
    assert error["name"] == "ConflictError" and "leased" in error["message"]
    assert page.evaluate("durably.purgeRuns({ olderThan: new Date(Date.now() + 60_000) })") == 1
    assert [run["id"] for run in page.evaluate("durably.getRuns()")] == [running]
    assert page.evaluate("(id) => durably.getRun(id)", second) is None
    server.open_gate("running/0")


def test_a_run_is_followed_to_its_end(page: Page, server: Server) -> None:
    server.close_gate("follow/1")
    run_id = page.evaluate("durably.jobs.count.trigger({ label: 'follow', steps: 2 })")["id"]
    server.wait_for("follow/1")
    page.wait_for_function("events.some(({ type }) => type === 'run:progress')")
    page.evaluate(
        """(id) => {
            window.followed = [];
            const follow = async () => { for await (const event of durably.subscribe(id)) followed.push(event); };
            window.following = follow();
        }""",
        run_id,
    )
    page.wait_for_function("followed.length >= 2")
    server.open_gate("follow/1")
    page.evaluate("following")
    types = page.evaluate("followed.map(({ type, sequence }) => [type, sequence === 0])")
    assert types[:2] == [["run:leased", True], ["run:progress", True]]
    assert types[-1] == ["run:complete", False]
    assert ["step:complete", False] in types

    ended_events = (
        "async (id) => { const all = []; for await (const e of durably.subscribe(id)) all.push(e); return all; }"
    )
    [end] = page.evaluate(ended_events, run_id)
    assert (end["type"], end["sequence"], end["output"]) == ("run:complete", 0, {"total": 1})


def test_following_nobody_is_an_error(page: Page) -> None:
    error = page.evaluate(f"durably.subscribe('nobody').getReader().read().catch({ERROR})")
    assert error["name"] == "NotFoundError"
