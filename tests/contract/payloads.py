"""Payloads: inputs, outputs, step results and log data come back as they were, and nobody's copy is shared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from durably_wasm.models import Progress, RunError
from durably_wasm.payloads import JsonValue, encode
from durably_wasm.stores import Store

from .given import ALL, LATER, after, again, checkpointed, claimed, completed, enqueued, leased, logged, new_run, same

SURROGATES = "\ud800 \udfff \udc00\ud800"

VALUES: Mapping[str, JsonValue] = {
    "none": None,
    "truth": [True, False],
    "zero": 0,
    "empty text": "",
    "empty list": [],
    "empty object": {},
    "an integral float": 1.0,
    "floats": [0.0, -0.0, 1e300, 5e-324, 0.1, -1.5, 1e16, 123456789.0],
    "large integers": [2**53, 2**53 + 1, -(2**53) - 1, 2**63, 2**64, 10**40, -(10**40)],
    "integer and float of one value": [1, 1.0, True, "1"],
    "order of keys": {"b": 1, "a": 2, "10": 3, "9": 4, "": 5, "B": 6, "1": 7},
    "keys that JavaScript knows": {"__proto__": {"x": 1}, "constructor": 2, "toString": 3, "length": 4},
    "nested": {"a": [{"b": [[], [[]], {"c": {"d": None}}]}]},
    "unicode": "äöü ß 日本語 \u202e \ufeff \u2028 \u2029",
    "emoji": ["😀", "👩‍👩‍👧", "🏳️‍🌈"],
    "decomposed": ["é", "e\u0301"],
    "null characters": ["\x00", "a\x00b", {"\x00": "\x00\x00"}],
    "control characters": "".join(map(chr, range(32))) + "\x7f\x80",
    "lone surrogates": [SURROGATES, {SURROGATES: "\ud83d"}, "\ude00\ud83d"],
    "quotes": ['"', "'", "\\", "\\u0000", "`", "${x}", "</script>", "'; DROP TABLE runs; --"],
    "text that looks like JSON": ["null", "1.0", "{}", '"x"', "NaN"],
}


def _deep(levels: int) -> JsonValue:
    value: JsonValue = "deep"
    for level in range(levels):
        value = [value] if level % 2 else {"down": value}
    return value


async def an_input_comes_back_as_it_was(store: Store) -> None:
    for name, value in VALUES.items():
        result = await store.enqueue(new_run(input=value), after(1))
        assert same(result.run.input, value), name
        assert same((await again(store, result.run)).input, value), name
        claim = await leased(store, result.run)
        assert same(claim.input, value), name
        [listed] = [run for run in await store.get_runs(ALL) if run.id == claim.id]
        assert same(listed.input, value), name


async def an_output_comes_back_as_it_was(store: Store) -> None:
    for name, value in VALUES.items():
        run = await completed(store, output=value)
        assert same(run.output, value), name
        [listed] = [other for other in await store.get_runs(ALL) if other.id == run.id]
        assert same(listed.output, value), name


async def a_steps_output_comes_back_as_it_was(store: Store) -> None:
    run = await claimed(store)
    for index, (name, value) in enumerate(VALUES.items()):
        step = await checkpointed(store, run, name=name, index=index, output=value)
        assert same(step.output, value), name
        repeated = await checkpointed(store, run, name=name, index=index, output="another")
        assert same(repeated.output, value), name
    steps = await store.get_steps(run.id)
    assert [encode(step.output) for step in steps] == [encode(value) for value in VALUES.values()]


async def a_lines_data_comes_back_as_it_was(store: Store) -> None:
    run = await claimed(store)
    for name, value in VALUES.items():
        assert same((await logged(store, run, data=value)).data, value), name
    lines = await store.get_logs(run.id)
    assert [encode(line.data) for line in lines] == [encode(value) for value in VALUES.values()]


async def keys_of_runs_bring_the_payloads_along(store: Store) -> None:
    for name, value in VALUES.items():
        await completed(store, input=value, output=value, idempotency_key=name)
        known = (await store.enqueue(new_run(idempotency_key=name), after(1))).run
        assert same(known.input, value) and same(known.output, value), name
        await enqueued(store, input=value, concurrency_key=name)
        waiting = (await store.enqueue(new_run(concurrency_key=name, coalesce="skip"), after(1))).run
        assert same(waiting.input, value), name


async def each_run_keeps_its_own_payloads(store: Store) -> None:
    runs = [await completed(store, input=n, output=-n) for n in range(5)]
    await store.delete_run(runs[2].id)
    assert [(run.input, run.output) for run in await store.get_runs(ALL)] == [(4, -4), (3, -3), (1, -1), (0, 0)]


async def an_end_without_an_output_has_none(store: Store) -> None:
    run = await claimed(store, input="kept")
    assert await store.fail_run(run.id, run.lease_generation, RunError("boom"), after(1))
    stored = await again(store, run)
    assert (stored.input, stored.output) == ("kept", None)
    nothing = await completed(store, input="kept", output=None)
    assert (nothing.status, nothing.input, nothing.output) == ("completed", "kept", None)


async def keeps_large_payloads(store: Store) -> None:
    large: JsonValue = {"rows": ["x" * 1_000] * 1_050}
    assert len(encode(large)) > 2**20
    run = await claimed(store, input=large)
    await checkpointed(store, run, output=large)
    assert (await store.get_steps(run.id))[0].output == large
    assert await store.complete_run(run.id, run.lease_generation, large, LATER)
    stored = await again(store, run)
    assert stored.input == stored.output == large


async def keeps_deep_payloads(store: Store) -> None:
    run = await claimed(store, input=_deep(200))
    await checkpointed(store, run, output=_deep(200))
    assert same((await store.get_steps(run.id))[0].output, _deep(200))
    assert await store.complete_run(run.id, run.lease_generation, _deep(200), LATER)
    assert same((await again(store, run)).output, _deep(200))


async def keeps_any_text_in_names_and_messages(store: Store) -> None:
    for text in ("ä 😀 \u2028", "a\x00b", "\x00", "\"\\'", ""):
        run = await claimed(store, job_name=text, labels={"key": text})
        assert await store.update_progress(run.id, run.lease_generation, Progress(1, message=text), after(1))
        step = await checkpointed(store, run, name=text, status="failed", error=text)
        assert (step.name, step.error) == (text, text)
        line = await logged(store, run, text, step_name=text)
        assert (line.message, line.step_name) == (text, text)
        error = RunError(text, text, text)
        assert await store.fail_run(run.id, run.lease_generation, error, after(2), keep_steps=True)
        ended = await again(store, run)
        assert (ended.job_name, ended.labels, ended.progress) == (text, {"key": text}, Progress(1, message=text))
        assert (ended.error, ended.error_type, ended.error_traceback) == (text, text, text)
        assert (await store.get_steps(run.id), await store.get_logs(run.id)) == ([step], [line])


async def a_message_that_utf8_cannot_hold_does_not_refuse_the_write(store: Store) -> None:
    """A job's exception may carry any text, such as the name of a file; the run must fail all the same."""
    run = await claimed(store)
    assert await store.update_progress(run.id, run.lease_generation, Progress(1, message=SURROGATES), after(1))
    step = await checkpointed(store, run, status="failed", error=f"no file {SURROGATES}")
    assert step.error is not None and step.error.startswith("no file")
    line = await logged(store, run, f"no file {SURROGATES}")
    assert line.message.startswith("no file")
    assert await store.get_logs(run.id) == [line]
    error = RunError(f"no file {SURROGATES}", "OSError", f"Traceback: {SURROGATES}")
    assert await store.fail_run(run.id, run.lease_generation, error, after(2), keep_steps=True)
    ended = await again(store, run)
    assert ended.status == "failed" and str(ended.error).startswith("no file")
    assert await store.get_steps(run.id) == [step]


async def changing_what_was_handed_in_changes_nothing_stored(store: Store) -> None:
    for name, (hand_in, read) in await _places(store):
        value: Any = {"list": [1], "deep": {"list": [1]}}
        handed_out = await hand_in(value)
        value["list"].append(2)
        value["deep"]["list"].append(2)
        expected = {"list": [1], "deep": {"list": [1]}}
        assert await read() == expected, name
        assert handed_out is None or handed_out == expected, f"{name}: what came back is what was handed in"
    labels = {"a": "b"}
    result = await store.enqueue(new_run(labels=labels), after(1))
    labels["a"] = "c"
    assert result.run.labels == (await again(store, result.run)).labels == {"a": "b"}


async def changing_what_was_handed_out_changes_nothing_stored(store: Store) -> None:
    for name, (hand_in, read) in await _places(store):
        for handed_out in (await hand_in({"list": [1]}), await read()):
            if handed_out is not None:
                handed_out["list"].append(2)
        assert await read() == {"list": [1]}, name


async def changing_a_run_that_was_handed_out_changes_nothing_stored(store: Store) -> None:
    new = new_run(input={"list": [1]}, idempotency_key="a", concurrency_key="b", labels={"c": "d"})
    created = (await store.enqueue(new, after(1))).run
    known = (await store.enqueue(new_run(idempotency_key="a"), after(1))).run
    waiting = (await store.enqueue(new_run(concurrency_key="b", coalesce="skip"), after(1))).run
    [twin, other_twin] = await store.enqueue_many(
        [new_run(idempotency_key="a"), new_run(idempotency_key="a")], after(1)
    )
    claim = await leased(store, created)
    [listed] = await store.get_runs(ALL)
    run: Any
    for run in (created, known, waiting, twin.run, other_twin.run, claim, listed, await again(store, created)):
        run.input["list"].append(2)
        run.labels["c"] = "changed"
    stored = await again(store, created)
    assert (stored.input, stored.labels) == ({"list": [1]}, {"c": "d"})


HandIn = Callable[[Any], Awaitable[Any]]
Read = Callable[[], Awaitable[Any]]


async def _places(store: Store) -> list[tuple[str, tuple[HandIn, Read]]]:
    """Where a payload can be put: a function that hands it in and returns what comes back, and one that reads it."""
    run, ending = await claimed(store), await claimed(store)
    made: list[str] = []

    async def hand_in_input(value: Any) -> Any:
        result = await store.enqueue(new_run(input=value), after(1))
        made.append(result.run.id)
        return result.run.input

    async def read_input() -> Any:
        stored = await store.get_run(made[-1])
        return stored and stored.input

    async def hand_in_step(value: Any) -> Any:
        return (await checkpointed(store, run, output=value)).output

    async def read_step() -> Any:
        return (await store.get_steps(run.id))[0].output

    async def hand_in_output(value: Any) -> None:
        assert await store.complete_run(ending.id, ending.lease_generation, value, after(1))

    async def read_output() -> Any:
        return (await again(store, ending)).output

    async def hand_in_line(value: Any) -> Any:
        return (await logged(store, run, data=value)).data

    async def read_line() -> Any:
        return (await store.get_logs(run.id))[0].data

    return [
        ("input", (hand_in_input, read_input)),
        ("step output", (hand_in_step, read_step)),
        ("output", (hand_in_output, read_output)),
        ("log data", (hand_in_line, read_line)),
    ]
