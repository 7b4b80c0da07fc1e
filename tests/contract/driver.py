"""What every `ObjectDriver` must do: one transaction a call, in the order of IndexedDB's keys.

Written against the object stores and indexes of `web/shared/schema.js`, so that the same clauses run on the real
database in the browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from durably_wasm.errors import StoreError
from durably_wasm.stores.base import Settling
from durably_wasm.stores.indexeddb import Decision, ObjectDriver
from durably_wasm.stores.operations import Operation

from .given import CROWD, raised

ROUNDS = 5
UNWRITABLE: list[Any] = [b"x", object(), {1}, 10**5000]


class Refused(Exception):
    """What a decision may raise."""


async def finds_nothing_in_an_empty_database(driver: ObjectDriver) -> None:
    found = await _read(driver, _get("runs", "a"), _get("steps", ["a", "b"]), _range("runs"), _range("runs", "byAge"))
    assert found == [None, None, [], []]


async def reads_a_record_as_it_was_written(driver: ObjectDriver) -> None:
    record = {**_run("a"), "labels": {"x": "y"}, "progress": {"current": 1.5, "total": None}, "null": None, "t": True}
    await _write(driver, _put("runs", record))
    assert await _read(driver, _get("runs", "a")) == [record]


async def keeps_any_text(driver: ObjectDriver) -> None:
    for text in ("", "ä 😀 \u2028", "a\x00b", "\ud800 \udc00\ud800", "\\u0000", '"'):
        payload = {"runId": f"run {text}", "kind": "input", "text": text}
        await _write(driver, _put("payloads", payload))
        assert await _read(driver, _get("payloads", [f"run {text}", "input"])) == [payload], repr(text)


async def answers_reads_in_the_order_they_were_asked(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(name)) for name in "abc"))
    found = await _read(driver, _get("runs", "c"), _get("runs", "?"), _range("runs"), _get("runs", "a"))
    assert found == [_run("c"), None, [_run("a"), _run("b"), _run("c")], _run("a")]


async def a_put_takes_the_place_of_the_record_with_its_key(driver: ObjectDriver) -> None:
    await _write(driver, _put("runs", {**_run("a"), "error": "old"}))
    await _write(driver, _put("runs", _run("a", status="leased")))
    assert await _read(driver, _range("runs")) == [[_run("a", status="leased")]]
    assert await _read(driver, _range("runs", "byStatus", ["pending"], ["pending", []])) == [[]]


async def writes_in_the_order_they_were_given(driver: ObjectDriver) -> None:
    await _write(
        driver,
        _put("runs", _run("a", jobName="first")),
        _put("runs", _run("a", jobName="second")),
        _put("runs", _run("b")),
        _delete("runs", "b", "b"),
        _delete("runs", "c", "c"),
        _put("runs", _run("c")),
    )
    assert await _read(driver, _range("runs")) == [[_run("a", jobName="second"), _run("c")]]


async def does_nothing_when_nothing_is_asked(driver: ObjectDriver) -> None:
    rounds: list[list[Any]] = []

    def decide(found: list[Any]) -> Decision:
        rounds.append(found)
        return {"writes": []}

    await driver.transact([], decide)
    assert rounds == [[]]


async def hands_out_and_takes_in_copies(driver: ObjectDriver) -> None:
    record = {**_run("a"), "labels": {"x": "y"}}
    await _write(driver, _put("runs", record))
    record["labels"]["x"] = "changed"
    [found] = await _read(driver, _get("runs", "a"))
    assert found["labels"] == {"x": "y"}
    found["labels"]["x"] = "changed"
    assert (await _read(driver, _get("runs", "a")))[0]["labels"] == {"x": "y"}


async def lists_by_primary_key(driver: ObjectDriver) -> None:
    keys = [["b", "2"], ["a", "1"], ["b", "10"], ["a", ""], ["", "z"], ["aa", "1"], ["B", "1"], ["ä", "1"], ["😀", "1"]]
    await _write(driver, *(_put("steps", _step(*key)) for key in keys))
    [found] = await _read(driver, _range("steps"))
    assert [[step["runId"], step["name"]] for step in found] == sorted(keys)


async def orders_text_by_its_utf16_units(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(run_id)) for run_id in ("\uffee", "😀", "z")))
    [found] = await _read(driver, _range("runs"))
    assert [run["id"] for run in found] == ["z", "😀", "\uffee"]


async def a_prefix_and_an_empty_array_bound_the_keys_that_begin_with_it(driver: ObjectDriver) -> None:
    await _write(
        driver, *(_put("steps", _step(run, name)) for run in ("a", "b", "bb", "c") for name in ("1", "2", "\uffff"))
    )
    [found] = await _read(driver, _range("steps", None, ["b"], ["b", []]))
    assert [(step["runId"], step["name"]) for step in found] == [("b", "1"), ("b", "2"), ("b", "\uffff")]


async def both_bounds_belong_to_the_range(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(name)) for name in "abcde"))
    [found] = await _read(driver, _range("runs", None, "b", "d"))
    assert _ids(found) == ["b", "c", "d"]


async def an_upper_bound_alone_does_not_belong_to_the_range(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(name)) for name in "abcde"))
    [found] = await _read(driver, _range("runs", None, None, "d"))
    assert _ids(found) == ["a", "b", "c"]


async def a_lower_bound_alone_belongs_to_the_range(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(name)) for name in "abcde"))
    [found] = await _read(driver, _range("runs", None, "c"))
    assert _ids(found) == ["c", "d", "e"]


async def a_limit_takes_the_first_of_a_range(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(name)) for name in "edcba"))
    found = await _read(driver, *(_range("runs", "byAge", ["0"], ["9"], limit) for limit in (1, 3, 5, 99, None)))
    assert [_ids(runs) for runs in found] == [["a"], ["a", "b", "c"], list("abcde"), list("abcde"), list("abcde")]


async def lists_by_an_index(driver: ObjectDriver) -> None:
    ages = {"a": "3", "b": "1", "c": "2", "d": "2"}
    await _write(driver, *(_put("runs", _run(name, createdAt=at)) for name, at in ages.items()))
    [found] = await _read(driver, _range("runs", "byAge"))
    assert _ids(found) == ["b", "c", "d", "a"]
    [found] = await _read(driver, _range("runs", "byAge", ["2"], ["2", []]))
    assert _ids(found) == ["c", "d"]
    [found] = await _read(driver, _range("runs", "byAge", ["2", "c", ""], ["9"]))
    assert _ids(found) == ["d", "a"], "beyond the key of c"


async def an_index_of_several_fields_compares_them_one_by_one(driver: ObjectDriver) -> None:
    runs = [_run("a", status="leased", jobName="x"), _run("b", jobName="x"), _run("c", jobName="xx"), _run("d")]
    await _write(driver, *(_put("runs", run) for run in runs))
    prefix = ["pending", "x"]
    [found] = await _read(driver, _range("runs", "byStatusAndJob", prefix, [*prefix, []]))
    assert _ids(found) == ["b"]


async def an_index_leaves_out_records_without_its_fields(driver: ObjectDriver) -> None:
    without = _run("a")
    null = _run("b", completedAt=None, concurrencyKey=None)
    there = _run("c", completedAt="2", concurrencyKey="k")
    await _write(driver, _put("runs", without), _put("runs", null), _put("runs", there))
    found = await _read(driver, _range("runs", "byEnd"), _range("runs", "byKey"), _range("runs", "byEnd", None, ["3"]))
    assert [_ids(runs) for runs in found] == [["c"], ["c"], ["c"]]


async def an_index_follows_its_records(driver: ObjectDriver) -> None:
    await _write(driver, _put("runs", _run("a")), _put("runs", _run("b")))
    await _write(driver, _put("runs", _run("a", status="leased")), _delete("runs", "b", "b"))
    found = await _read(
        driver,
        _range("runs", "byStatus", ["pending"], ["pending", []]),
        _range("runs", "byStatus", ["leased"], ["leased", []]),
    )
    assert [_ids(runs) for runs in found] == [[], ["a"]]


async def deletes_a_range_of_primary_keys(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("steps", _step(run, name)) for run in ("a", "b", "bb") for name in ("1", "2")))
    await _write(driver, _put("logs", {"runId": "b", "id": "1"}), _delete("steps", ["b"], ["b", []]))
    steps, logs = await _read(driver, _range("steps"), _range("logs"))
    assert [(step["runId"], step["name"]) for step in steps] == [("a", "1"), ("a", "2"), ("bb", "1"), ("bb", "2")]
    assert len(logs) == 1


async def deletes_both_bounds_of_a_range(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(name)) for name in "abcde"))
    await _write(driver, _delete("runs", "b", "d"))
    [found] = await _read(driver, _range("runs"))
    assert _ids(found) == ["a", "e"]


async def writes_nothing_when_the_decision_raises(driver: ObjectDriver) -> None:
    await _write(driver, _put("runs", _run("a")))
    before = await _read(driver, _range("runs"))

    def decide(found: list[Any]) -> Decision:
        raise Refused(f"found {len(found)}")

    error = await raised(Refused, driver.transact([_get("runs", "a")], decide))
    assert str(error) == "found 1"
    assert await _read(driver, _range("runs")) == before
    await _write(driver, _put("runs", _run("b")))


async def writes_nothing_when_a_later_decision_raises(driver: ObjectDriver) -> None:
    answers: list[Decision] = [{"reads": [_get("runs", "a")]}, {"reads": []}]

    def decide(found: list[Any]) -> Decision:
        if answers:
            return answers.pop(0)
        raise Refused

    await raised(Refused, driver.transact([], decide))
    assert await _read(driver, _range("runs")) == [[]]


async def a_decision_may_read_as_often_as_it_needs(driver: ObjectDriver) -> None:
    await _write(driver, *(_put("runs", _run(str(n), jobName=str(n + 1))) for n in range(ROUNDS)))
    path = []

    def decide(found: list[Any]) -> Decision:
        path.append(found)
        [run] = found
        return {"reads": [_get("runs", run["jobName"])]} if run else {"writes": [_put("runs", _run("end"))]}

    await driver.transact([_get("runs", "0")], decide)
    assert [run and run["id"] for [run] in path] == [*map(str, range(ROUNDS)), None]
    assert await _read(driver, _get("runs", "end")) == [_run("end")]


async def reads_may_have_writes_among_them(driver: ObjectDriver) -> None:
    await _write(driver, _put("runs", _run("a")), _put("runs", _run("b")))
    path: list[list[Any]] = []

    def decide(found: list[Any]) -> Decision:
        path.append(found)
        if len(path) <= ROUNDS:
            put, run = _put("runs", _run("c", jobName=str(len(path)))), _get("runs", "c")
            return {"reads": [run, put, run, _delete("runs", "b", "b"), _range("runs")]}
        return {"writes": [_put("runs", _run("d"))]}

    await driver.transact([], decide)
    seen = [(before and before["jobName"], after["jobName"], _ids(all)) for before, _, after, _, all in path[1:]]
    names = [str(n + 1) for n in range(ROUNDS)]
    expected = [(before, after, ["a", "c"]) for before, after in zip([None, *names], names, strict=False)]
    assert seen == expected
    assert _ids((await _read(driver, _range("runs")))[0]) == ["a", "c", "d"]


async def writes_among_reads_are_undone_when_a_later_decision_raises(driver: ObjectDriver) -> None:
    await _write(driver, _put("runs", _run("a")))
    answers: list[Decision] = [{"reads": [_put("runs", _run("b")), _delete("runs", "a", "a"), _range("runs")]}]

    def decide(found: list[Any]) -> Decision:
        if answers:
            return answers.pop(0)
        raise Refused(f"found {_ids(found[-1])}")

    error = await raised(Refused, driver.transact([], decide))
    assert str(error) == "found ['b']"
    assert await _read(driver, _range("runs")) == [[_run("a")]]


async def one_refused_write_among_reads_undoes_all(driver: ObjectDriver) -> None:
    first, second = (_run(name, jobName="import", idempotencyKey="order-1") for name in "ab")
    answers: list[Decision] = [
        {"reads": [_put("runs", first), _range("runs")]},
        {"reads": [_put("runs", second), _range("runs")]},
    ]
    await raised(StoreError, driver.transact([], lambda found: answers.pop(0) if answers else {"writes": []}))
    assert await _read(driver, _range("runs")) == [[]]


async def a_unique_index_refuses_a_second_record(driver: ObjectDriver) -> None:
    first, second = (_run(name, jobName="import", idempotencyKey="order-1") for name in "ab")
    await _write(driver, _put("runs", first))
    await raised(StoreError, _write(driver, _put("runs", _run("c")), _put("runs", second), _put("runs", _run("d"))))
    assert await _read(driver, _range("runs")) == [[first]], "one refused write undoes all"
    await _write(driver, _put("runs", {**first, "status": "leased"}), _put("runs", {**second, "jobName": "export"}))


async def what_the_data_cause_is_told_as_such(driver: ObjectDriver) -> None:
    twice = [_put("runs", _run(name, jobName="import", idempotencyKey="order-1")) for name in "ab"]
    for refused in (
        _write(driver, *twice),
        _write(driver, _put("payloads", {"runId": "a"})),
        _read(driver, _get("runs", [None])),
        _read(driver, _range("runs", None, "b", "a")),
    ):
        error = await raised(StoreError, refused)
        assert (error.is_caused_by_data, error.is_final, error.is_full) == (True, False, False), str(error)
    await _write(driver, _put("runs", _run("a")))


async def what_is_missing_in_the_database_is_final(driver: ObjectDriver) -> None:
    for refused in (
        _read(driver, _get("no such store", "a")),
        _read(driver, _range("runs", "no such index")),
        _write(driver, _put("runs", _run("a")), _put("no such store", _run("b"))),
    ):
        error = await raised(StoreError, refused)
        assert (error.is_final, error.is_caused_by_data, error.is_full) == (True, False, False), str(error)
    assert await _read(driver, _range("runs")) == [[]]


async def a_transaction_that_does_not_begin_leaves_nothing_to_wait_for(driver: ObjectDriver) -> None:
    for unwritable in UNWRITABLE:
        await raised(Exception, _read(driver, _get("steps", ["a", unwritable])))
    await _settled(driver)
    await _write(driver, _put("runs", _run("a")))


async def a_transaction_whose_decision_has_no_text_leaves_nothing_to_wait_for(driver: ObjectDriver) -> None:
    for unwritable in UNWRITABLE:
        await raised(Exception, _write(driver, _put("runs", _run("a", error=unwritable))))
    await _settled(driver)
    assert await _read(driver, _range("runs")) == [[]]
    await _write(driver, _put("runs", _run("a")))


async def a_unique_index_refuses_two_records_of_one_transaction(driver: ObjectDriver) -> None:
    puts = [_put("runs", _run(name, jobName="import", idempotencyKey="order-1")) for name in "ab"]
    await raised(StoreError, _write(driver, *puts))
    assert await _read(driver, _range("runs")) == [[]]


async def a_unique_index_lets_records_without_a_key_be(driver: ObjectDriver) -> None:
    runs = [_run(name, jobName="import", idempotencyKey=None) for name in "ab"]
    await _write(driver, *(_put("runs", run) for run in runs))
    assert await _read(driver, _range("runs"), _range("runs", "byIdempotencyKey")) == [runs, []]


async def refuses_a_record_without_its_primary_key(driver: ObjectDriver) -> None:
    incomplete = {"runId": "a", "text": "no kind"}
    await raised(StoreError, _write(driver, _put("runs", _run("a")), _put("payloads", incomplete)))
    assert await _read(driver, _range("runs"), _range("payloads")) == [[], []]


async def concurrent_transactions_come_one_after_another(driver: ObjectDriver) -> None:
    seen: list[int] = []

    def decide(found: list[Any]) -> Decision:
        value = found[0]["value"] if found[0] else 0
        seen.append(value)
        return {"writes": [_put("meta", {"key": "epoch", "value": value + 1})]}

    await asyncio.gather(*(driver.transact([_get("meta", "epoch")], decide) for _ in CROWD))
    assert sorted(seen) == list(CROWD), "each must see what the one before it wrote"
    assert await _read(driver, _get("meta", "epoch")) == [{"key": "epoch", "value": len(CROWD)}]


async def concurrent_transactions_of_several_rounds_do_not_mix(driver: ObjectDriver) -> None:
    def transaction() -> Any:
        values: list[int] = []

        def decide(found: list[Any]) -> Decision:
            values.append(found[0]["value"] if found[0] else 0)
            if len(values) < ROUNDS:
                return {"reads": [_get("meta", "epoch")]}
            assert len(set(values)) == 1, f"another transaction wrote between the rounds: {values}"
            return {"writes": [_put("meta", {"key": "epoch", "value": values[0] + 1})]}

        return driver.transact([_get("meta", "epoch")], decide)

    await asyncio.gather(*(transaction() for _ in CROWD))
    assert await _read(driver, _get("meta", "epoch")) == [{"key": "epoch", "value": len(CROWD)}]


async def opening_again_is_harmless(driver: ObjectDriver) -> None:
    await _write(driver, _put("runs", _run("a")))
    await driver.open()
    assert await _read(driver, _range("runs")) == [[_run("a")]]


async def refuses_everything_once_it_is_closed(driver: ObjectDriver) -> None:
    await driver.close()
    await driver.close()
    await raised(StoreError, driver.transact([], lambda found: {"writes": []}))
    await raised(StoreError, driver.query("run", {"id": "a"}))


async def keeps_what_it_wrote_when_it_is_opened_again(driver: ObjectDriver) -> None:
    await _write(driver, _put("runs", _run("a")))
    await driver.close()
    await driver.open()
    assert await _read(driver, _range("runs")) == [[_run("a")]]


async def the_read_named_run_brings_the_texts_of_its_payloads(driver: ObjectDriver) -> None:
    await _write(
        driver,
        *(_put("runs", _run(name)) for name in "ab"),
        _put("payloads", {"runId": "a", "kind": "input", "text": "1.0"}),
        _put("payloads", {"runId": "a", "kind": "output", "text": "[2]"}),
        _put("payloads", {"runId": "b", "kind": "input", "text": "null"}),
    )
    assert await driver.query("run", {"id": "a"}) == [{**_run("a"), "input": "1.0", "output": "[2]"}]
    assert await driver.query("run", {"id": "b"}) == [{**_run("b"), "input": "null", "output": None}]
    assert await driver.query("run", {"id": "c"}) == []


async def the_read_named_runs_lists_the_newest_first(driver: ObjectDriver) -> None:
    ages = {"a": "2", "b": "3", "c": "1", "d": "2"}
    await _write(
        driver,
        *(_put("runs", _run(name, createdAt=at)) for name, at in ages.items()),
        *(_put("payloads", {"runId": name, "kind": "input", "text": name}) for name in ages),
    )
    found = await driver.query("runs", _filter())
    assert [(run["id"], run["input"], run["output"]) for run in found] == [
        ("b", "b", None),
        ("d", "d", None),
        ("a", "a", None),
        ("c", "c", None),
    ]


async def the_read_named_runs_filters_and_pages(driver: ObjectDriver) -> None:
    runs = [
        _run("a", status="failed", jobName="import", createdAt="1", labels={"shop": "1"}),
        _run("b", status="failed", jobName="export", createdAt="2", labels={"shop": "1", "kind": "daily"}),
        _run("c", status="pending", jobName="import", createdAt="3", labels={"shop": "2"}),
        _run("d", status="failed", jobName="import", createdAt="4", labels={"shop": "1"}),
        _run("e", status="cancelled", jobName="report", createdAt="5", labels={}),
    ]
    await _write(driver, *(_put("runs", run) for run in runs))
    for asked, expected in (
        (_filter(), "edcba"),
        (_filter(status=["failed"]), "dba"),
        (_filter(status=["failed", "pending"]), "dcba"),
        (_filter(jobName=["import"]), "dca"),
        (_filter(jobName=["import", "report", "import"]), "edca"),
        (_filter(status=["failed", "cancelled"], jobName=["report", "import"]), "eda"),
        (_filter(labels={"shop": "1"}), "dba"),
        (_filter(labels={"shop": "1", "kind": "daily"}), "b"),
        (_filter(labels={"shop": "1"}, limit=2), "db"),
        (_filter(labels={"shop": "1"}, limit=2, offset=1), "ba"),
        (_filter(limit=0), ""),
        (_filter(limit=0, offset=2), ""),
        (_filter(offset=3), "ba"),
        (_filter(offset=9), ""),
    ):
        assert _ids(await driver.query("runs", asked)) == list(expected), asked


async def the_read_named_steps_lists_a_runs_steps_by_index(driver: ObjectDriver) -> None:
    indexes = {"c": 10, "a": 2, "b": 1, "d": 0}
    await _write(driver, *(_put("steps", {**_step("x", name), "index": index}) for name, index in indexes.items()))
    await _write(driver, _put("steps", {**_step("y", "a"), "index": 0}))
    found = await driver.query("steps", {"runId": "x"})
    assert [step["name"] for step in found] == ["d", "b", "a", "c"]
    assert await driver.query("steps", {"runId": "z"}) == []


async def the_read_named_logs_lists_a_runs_lines_by_id(driver: ObjectDriver) -> None:
    keys = [("x", "2"), ("y", "1"), ("x", "1"), ("x", "10")]
    await _write(driver, *(_put("logs", {"runId": run, "id": line}) for run, line in keys))
    assert _ids(await driver.query("logs", {"runId": "x"})) == ["1", "10", "2"]
    assert await driver.query("logs", {"runId": "z"}) == []


def _get(store: str, key: str | Sequence[str]) -> Operation:
    return {"op": "get", "store": store, "key": key}


def _range(
    store: str, index: str | None = None, lower: Any = None, upper: Any = None, limit: int | None = None
) -> Operation:
    return {"op": "range", "store": store, "index": index, "lower": lower, "upper": upper, "limit": limit}


def _put(store: str, record: Mapping[str, Any]) -> Operation:
    return {"op": "put", "store": store, "record": record}


def _delete(store: str, lower: Any, upper: Any) -> Operation:
    return {"op": "delete", "store": store, "lower": lower, "upper": upper}


def _run(run_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": run_id, "jobName": "job", "status": "pending", "createdAt": "1", **fields}


def _step(run_id: str, name: str) -> dict[str, Any]:
    return {"runId": run_id, "name": name}


def _filter(**asked: Any) -> dict[str, Any]:
    return {"status": [], "jobName": [], "labels": {}, "limit": None, "offset": 0, **asked}


def _ids(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return [record["id"] for record in records]


async def _settled(driver: ObjectDriver) -> None:
    if isinstance(driver, Settling):
        await driver.settle()


async def _write(driver: ObjectDriver, *writes: Operation) -> None:
    await driver.transact([], lambda found: {"writes": list(writes)})


async def _read(driver: ObjectDriver, *reads: Operation) -> list[Any]:
    answers: list[list[Any]] = []

    def decide(found: list[Any]) -> Decision:
        answers.append(found)
        return {"writes": []}

    await driver.transact(list(reads), decide)
    return answers[0]
