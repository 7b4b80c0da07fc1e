"""Values that a store cannot take: it says so at once, nothing of the call is applied, and the next call is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from durably_wasm.errors import StoreError
from durably_wasm.models import RunError
from durably_wasm.stores import Store

from .given import NOW, again, checkpointed, claimed, contents, logged, new_run, new_step, raised

TOO_LONG = 10**5000  # for the text of an integer
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
VALUES: list[Any] = [TOO_LONG, {"a": [TOO_LONG]}, CIRCLE, b"x", {1, 2}, object(), float("nan")]

Call = Callable[[Store, Any], Awaitable[object]]


async def a_step_whose_output_has_no_text_is_not_stored(store: Store) -> None:
    run = await claimed(store)
    await _refuses(store, lambda store, value: store.persist_step(run.id, 1, new_step("a", output=value), NOW))
    await checkpointed(store, run, name="a")


async def an_output_that_has_no_text_leaves_the_run_leased(store: Store) -> None:
    run = await claimed(store)
    await _refuses(store, lambda store, value: store.complete_run(run.id, 1, value, NOW))
    assert (await again(store, run)).status == "leased"
    assert await store.fail_run(run.id, 1, RunError("because"), NOW)


async def an_input_that_has_no_text_is_not_stored(store: Store) -> None:
    await _refuses(store, lambda store, value: store.enqueue(new_run(input=value, idempotency_key="k"), NOW))
    assert (await store.enqueue(new_run(idempotency_key="k"), NOW)).disposition == "created"


async def one_input_that_has_no_text_refuses_the_batch(store: Store) -> None:
    await _refuses(store, lambda store, value: store.enqueue_many([new_run(), new_run(input=value)], NOW))


async def a_line_whose_data_have_no_text_is_not_stored(store: Store) -> None:
    run = await claimed(store)
    await _refuses(store, lambda store, value: logged(store, run, data=value))
    await logged(store, run, "the next")
    assert [log.message for log in await store.get_logs(run.id)] == ["the next"]


async def _refuses(store: Store, call: Call) -> None:
    before = await contents(store)
    for value in VALUES:
        error = await raised(Exception, call(store, value))
        assert not isinstance(error, StoreError) or error.is_caused_by_data
        assert await contents(store) == before
