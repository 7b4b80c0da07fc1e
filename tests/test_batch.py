"""A batch stores a run for each of its items, or, if anything is wrong with one of them, none at all."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from durably_wasm import ConflictError, StepContext, StoreError, TriggerItem, TriggerResult, ValidationError, define_job
from durably_wasm.stores import MemoryStore

if TYPE_CHECKING:
    from conftest import Engine, Intercept, Record, Settle


class Report(BaseModel):
    day: date
    rows: int = 0


@define_job("report")
async def report(step: StepContext, input: Report) -> int:
    return input.rows


@define_job("plain")
async def plain(step: StepContext, input: dict[str, Any]) -> None: ...


DAY = {"day": "2026-01-02"}


class TestBatch:
    async def test_stores_a_run_for_each_item_in_order(self, engine: Engine, record: Record) -> None:
        durably = engine(report)
        events = record(durably)
        runs = await durably.jobs["report"].batch_trigger(
            [Report(day=date(2026, 1, 1), rows=1), {"day": "2026-01-02", "rows": 2}, TriggerItem({**DAY, "rows": 3})]
        )
        assert all(type(run) is TriggerResult for run in runs)
        assert [(run.input.rows, run.status, run.disposition) for run in runs] == [
            (rows, "pending", "created") for rows in (1, 2, 3)
        ]
        assert runs[1].input == Report(day=date(2026, 1, 2), rows=2)
        assert [run.id for run in reversed(await durably.get_runs())] == [run.id for run in runs]
        assert [(event.type, event.run_id) for event in events] == [("run:trigger", run.id) for run in runs]  # type: ignore[attr-defined]

    async def test_is_stored_by_one_call(self, engine: Engine, intercept: Intercept) -> None:
        store = intercept(MemoryStore())
        await engine(report, store=store).jobs["report"].batch_trigger([DAY] * 5)
        assert store.calls == ["enqueue_many"]

    async def test_executes_in_its_order(self, engine: Engine) -> None:
        durably = engine(report)
        await durably.jobs["report"].batch_trigger([{**DAY, "rows": rows} for rows in (5, 3, 4)])
        ran: list[Any] = []
        durably.on("run:complete", lambda event: ran.append(event.output))  # type: ignore[attr-defined]
        assert await durably.process_until_idle() == 3 and ran == [5, 3, 4]

    async def test_wakes_the_worker(self, engine: Engine, settle: Settle) -> None:
        durably = engine(report)
        durably.start()
        await settle()
        await durably.jobs["report"].batch_trigger([DAY, DAY])
        await settle()
        assert [run.status for run in await durably.get_runs()] == ["completed"] * 2
        await durably.stop()

    async def test_without_items_gives_an_empty_list(
        self, engine: Engine, record: Record, intercept: Intercept
    ) -> None:
        store = intercept(MemoryStore())
        durably = engine(report, store=store)
        events = record(durably)
        assert await durably.jobs["report"].batch_trigger([]) == []
        assert store.calls == [] and events == []


class TestItem:
    async def test_has_the_options_of_a_trigger(self, engine: Engine) -> None:
        handle = engine(report).jobs["report"]
        [run] = await handle.batch_trigger(
            [TriggerItem(DAY, idempotency_key="i", concurrency_key="k", labels={"env": "live"})]
        )
        assert (run.idempotency_key, run.concurrency_key, run.labels) == ("i", "k", {"env": "live"})

    async def test_is_never_guessed_from_the_shape_of_an_input(self, engine: Engine) -> None:
        input = {"input": {"a": 1}, "idempotency_key": "i", "labels": {"env": "live"}}
        runs = await engine(plain).jobs["plain"].batch_trigger([input, input])
        assert [(run.input, run.idempotency_key, run.labels) for run in runs] == [(input, None, {})] * 2

    async def test_of_a_known_idempotency_key_leads_to_its_run(self, engine: Engine, record: Record) -> None:
        durably = engine(report)
        handle = durably.jobs["report"]
        known = await handle.trigger(DAY, idempotency_key="i")
        events = record(durably)
        runs = await handle.batch_trigger(
            [
                TriggerItem({**DAY, "rows": 1}, idempotency_key="i"),
                TriggerItem({**DAY, "rows": 2}, idempotency_key="j"),
                TriggerItem({**DAY, "rows": 3}, idempotency_key="j"),
            ]
        )
        assert [run.disposition for run in runs] == ["idempotent", "created", "idempotent"]
        assert [run.id for run in runs] == [known.id, runs[1].id, runs[1].id] and runs[2].input.rows == 2
        assert [event.type for event in events] == ["run:trigger"]

    async def test_coalesces_with_an_earlier_one(self, engine: Engine, record: Record) -> None:
        durably = engine(report)
        events = record(durably)
        one, two = await durably.jobs["report"].batch_trigger(
            [
                TriggerItem({**DAY, "rows": 1}, concurrency_key="k", labels={"n": "1"}),
                TriggerItem({**DAY, "rows": 2}, concurrency_key="k", coalesce="skip", labels={"n": "2"}),
            ]
        )
        assert (one.id, one.input, one.labels) == (two.id, two.input, two.labels)
        assert (one.disposition, two.disposition) == ("created", "coalesced")
        coalesced: Any = events[1]
        assert (coalesced.type, coalesced.labels, coalesced.skipped_labels) == (
            "run:coalesced",
            {"n": "1"},
            {"n": "2"},
        )
        assert coalesced.skipped_input == {"day": "2026-01-02", "rows": 2}


class TestMistake:
    @pytest.mark.parametrize(
        ("item", "message"),
        [
            ({"rows": 1}, "day"),
            ("2026-01-01", "report"),
            (None, "report"),
            (TriggerItem({"day": "no day"}), "day"),
            (TriggerItem(DAY, idempotency_key=""), "idempotency_key"),
            (TriggerItem(DAY, concurrency_key=1), "concurrency_key"),  # type: ignore[arg-type]
            (TriggerItem(DAY, coalesce="skip"), "coalesce"),
            (TriggerItem(DAY, concurrency_key="k", coalesce="join"), "coalesce"),  # type: ignore[arg-type]
            (TriggerItem(DAY, labels={"no blanks": "x"}), "no blanks"),
            (TriggerItem(DAY, labels={"env": 1}), "env"),  # type: ignore[dict-item]
        ],
    )
    @pytest.mark.parametrize("index", [0, 2])
    async def test_is_told_with_its_index_and_stores_nothing(
        self, engine: Engine, record: Record, item: Any, message: str, index: int
    ) -> None:
        durably = engine(report)
        events = record(durably)
        items: list[Any] = [DAY, DAY, DAY]
        items[index] = item
        with pytest.raises(ValidationError, match=f"at index {index}") as raised:
            await durably.jobs["report"].batch_trigger(items)
        assert message in str(raised.value)
        assert await durably.get_runs() == [] and events == []

    async def test_against_the_labels_schema_is_one_too(self, engine: Engine) -> None:
        durably = engine(report, labels=dict[str, int])
        with pytest.raises(ValidationError, match="at index 1"):
            await durably.jobs["report"].batch_trigger([DAY, TriggerItem(DAY, labels={"env": "live"})])
        assert await durably.get_runs() == []

    @pytest.mark.parametrize("items", [None, 3, DAY, "text", TriggerItem(DAY)])
    async def test_is_also_what_is_no_list(self, engine: Engine, items: Any) -> None:
        durably = engine(report)
        with pytest.raises(ValidationError, match="items"):
            await durably.jobs["report"].batch_trigger(items)
        assert await durably.get_runs() == []


class TestConflict:
    async def test_with_a_pending_run_stores_none(self, engine: Engine, record: Record) -> None:
        durably = engine(report)
        handle = durably.jobs["report"]
        pending = await handle.trigger(DAY, concurrency_key="k")
        events = record(durably)
        with pytest.raises(ConflictError, match=pending.id):
            await handle.batch_trigger(
                [TriggerItem(DAY, idempotency_key="i"), TriggerItem(DAY, concurrency_key="k"), DAY]
            )
        assert [run.id for run in await durably.get_runs()] == [pending.id] and events == []
        [again] = await handle.batch_trigger([TriggerItem(DAY, idempotency_key="i")])
        assert again.disposition == "created"

    async def test_between_two_items_stores_none(self, engine: Engine) -> None:
        durably = engine(report)
        with pytest.raises(ConflictError, match="'k'"):
            await durably.jobs["report"].batch_trigger([TriggerItem(DAY, concurrency_key="k")] * 2)
        assert await durably.get_runs() == []
        run = await durably.jobs["report"].trigger(DAY, concurrency_key="k")
        assert run.disposition == "created"

    async def test_leaves_what_was_there_before(self, engine: Engine) -> None:
        durably = engine(report)
        handle = durably.jobs["report"]
        known = await handle.trigger(DAY, idempotency_key="i")
        with pytest.raises(ConflictError):
            await handle.batch_trigger(
                [TriggerItem(DAY, idempotency_key="i"), *[TriggerItem(DAY, concurrency_key="k")] * 2]
            )
        assert [run.id for run in await durably.get_runs()] == [known.id]
        assert (await handle.trigger(DAY, idempotency_key="i")).disposition == "idempotent"


class TestOutage:
    async def test_is_the_callers_and_nothing_is_told(
        self, engine: Engine, record: Record, intercept: Intercept
    ) -> None:
        async def fail() -> None:
            raise StoreError("disk full")

        store = intercept(MemoryStore())
        store.before("enqueue_many", fail)
        durably = engine(report, store=store)
        events = record(durably)
        with pytest.raises(StoreError, match="disk full"):
            await durably.jobs["report"].batch_trigger([DAY])
        assert await durably.get_runs() == [] and events == []
