"""A trigger is checked first, then stored, told of, and taken up by the worker at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from durably_wasm import (
    ConflictError,
    Run,
    StepContext,
    StoreError,
    TriggerItem,
    TriggerResult,
    ValidationError,
    define_job,
)
from durably_wasm.events import Event
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Record, Settle

NOON = "2026-01-01T00:00:00.000Z"  # where a FakeClock starts


class Line(BaseModel):
    sku: str
    quantity: int = Field(gt=0)


class Order(BaseModel):
    customer: str
    lines: list[Line]


class Labels(TypedDict):
    tenant: str


@dataclass
class Upload:
    content: bytes
    at: datetime


@define_job("order")
async def order(step: StepContext, input: Order) -> str:
    return input.customer


@define_job("other")
async def other(step, input) -> None: ...


ORDER = {"customer": "Ada", "lines": [{"sku": "a-1", "quantity": 2}]}


class TestInput:
    async def test_may_be_an_instance_or_plain_data(self, engine: Engine, store: MemoryStore) -> None:
        durably = engine(order)
        for given in (ORDER, Order(customer="Ada", lines=[Line(sku="a-1", quantity=2)])):
            result = await durably.jobs.order.trigger(given)
            stored = await store.get_run(result.id)
            assert stored is not None and stored.input == ORDER
            assert result.input == Order.model_validate(ORDER)

    async def test_that_is_wrong_names_the_job_and_every_field_and_stores_nothing(
        self, engine: Engine, record: Record
    ) -> None:
        durably = engine(order)
        events = record(durably)
        wrong = {"lines": [{"sku": 1, "quantity": 1}, {"sku": "a", "quantity": 0}]}
        with pytest.raises(ValidationError) as raised:
            await durably.jobs.order.trigger(wrong)
        assert str(raised.value).startswith("Invalid input for job 'order': ")
        for fault in ("customer: ", "lines.0.sku: ", "lines.1.quantity: "):
            assert fault in str(raised.value)
        assert isinstance(raised.value, ValueError)
        assert (await durably.get_runs(), events) == ([], [])

    @pytest.mark.parametrize("unstorable", [{1: "key"}, [float("nan")], object()], ids=["key", "nan", "object"])
    async def test_that_json_cannot_hold_is_refused(self, engine: Engine, unstorable: object) -> None:
        durably = engine(other)
        with pytest.raises(ValidationError, match="'other'"):
            await durably.jobs.other.trigger(unstorable)
        assert await durably.get_runs() == []

    @pytest.mark.parametrize("declared", [Any, list, list[Any]], ids=str)
    async def test_of_any_type_may_not_lose_a_number_in_json(self, engine: Engine, declared: object) -> None:
        durably = engine(define_job("any", input=declared, run=other.run))
        with pytest.raises(ValidationError, match=r"'any'.*nan"):
            await durably.jobs.any.trigger([float("nan")])
        assert await durably.get_runs() == []

    async def test_that_came_from_the_caller_is_not_aliased(self, engine: Engine) -> None:
        durably = engine(other)
        given = {"rows": [1]}
        result = await durably.jobs.other.trigger(given)
        given["rows"].append(2)
        result.input["rows"].append(3)
        run = await durably.get_run(result.id)
        assert run is not None and run.input == {"rows": [1]}


class TestInputAsJson:
    async def test_has_text_for_bytes_and_times(self, engine: Engine) -> None:
        seen: list[object] = []

        @define_job("upload")
        async def upload(step: StepContext, input: list[Upload]) -> None:
            seen.extend(input)

        durably = engine(upload)
        result = await durably.jobs.upload.trigger_json([{"content": "/+8=", "at": NOON}], labels={"by": "page"})
        await durably.process_one()
        assert seen == [Upload(b"\xff\xef", datetime(2026, 1, 1, tzinfo=UTC))]
        assert (result.disposition, result.labels) == ("created", {"by": "page"})

    async def test_comes_back_as_json(self, engine: Engine) -> None:
        durably = engine(order)
        result = await durably.jobs.order.trigger_json(ORDER, idempotency_key="k")
        assert result.input == ORDER
        await durably.process_one()
        again = await durably.jobs.order.trigger_json(ORDER, idempotency_key="k")
        assert (again.id, again.disposition, again.output) == (result.id, "idempotent", "Ada")

    async def test_is_validated_like_any_other(self, engine: Engine) -> None:
        durably = engine(order)
        with pytest.raises(ValidationError, match=r"job 'order': customer: .*; lines: "):
            await durably.jobs.order.trigger_json({})
        assert await durably.get_runs() == []


class TestResult:
    async def test_is_the_run_and_a_disposition(self, engine: Engine, store: MemoryStore) -> None:
        result = await engine(order).jobs.order.trigger(ORDER, concurrency_key="c", idempotency_key="i")
        run = Run(
            id=result.id,
            job_name="order",
            input=ORDER,
            status="pending",
            idempotency_key="i",
            concurrency_key="c",
            created_at=NOON,
            updated_at=NOON,
        )
        assert await store.get_run(result.id) == run
        assert isinstance(result, TriggerResult) and result.disposition == "created"
        assert {field.name: getattr(result, field.name) for field in fields(Run)} == {
            **{field.name: getattr(run, field.name) for field in fields(Run)},
            "input": Order.model_validate(ORDER),
        }


class TestIdempotencyKey:
    async def test_returns_the_first_run_whatever_its_status_and_tells_nothing(
        self, engine: Engine, record: Record
    ) -> None:
        durably = engine(order)
        first = await durably.jobs.order.trigger(ORDER, idempotency_key="k")
        events = record(durably)
        again = await durably.jobs.order.trigger({**ORDER, "customer": "Bob"}, idempotency_key="k")
        assert (again.id, again.disposition, again.input.customer) == (first.id, "idempotent", "Ada")
        assert events == []
        await durably.process_one()
        ended = await durably.jobs.order.trigger(ORDER, idempotency_key="k")
        assert (ended.id, ended.status, ended.output) == (first.id, "completed", "Ada")

    async def test_comes_before_labels_and_concurrency(self, engine: Engine) -> None:
        handle = engine(order).jobs.order
        first = await handle.trigger(ORDER, idempotency_key="k", concurrency_key="c", labels={"a": "1"})
        again = await handle.trigger(ORDER, idempotency_key="k", concurrency_key="c", labels={"a": "2"})
        assert (again.id, again.disposition, again.labels) == (first.id, "idempotent", {"a": "1"})
        skipping = await handle.trigger(ORDER, idempotency_key="k", concurrency_key="c", coalesce="skip")
        assert skipping.disposition == "idempotent"

    async def test_belongs_to_its_job(self, engine: Engine) -> None:
        durably = engine(order, other)
        await durably.jobs.order.trigger(ORDER, idempotency_key="k")
        assert (await durably.jobs.other.trigger(1, idempotency_key="k")).disposition == "created"


class TestConcurrencyKey:
    async def test_has_one_pending_run_at_most(self, engine: Engine, record: Record) -> None:
        durably = engine(order)
        first = await durably.jobs.order.trigger(ORDER, concurrency_key="c")
        events = record(durably)
        with pytest.raises(ConflictError, match=f"{first.id}.*'c'"):
            await durably.jobs.order.trigger(ORDER, concurrency_key="c")
        assert (len(await durably.get_runs()), events) == (1, [])

    async def test_belongs_to_its_job(self, engine: Engine) -> None:
        durably = engine(order, other)
        await durably.jobs.order.trigger(ORDER, concurrency_key="c")
        assert (await durably.jobs.other.trigger(1, concurrency_key="c")).disposition == "created"

    async def test_of_a_leased_run_does_not_keep_the_next_from_being_stored(
        self, engine: Engine, store: MemoryStore
    ) -> None:
        durably = engine(order)
        await durably.jobs.order.trigger(ORDER, concurrency_key="c")
        await store.claim_next("other", NOON, 1000)
        assert (await durably.jobs.order.trigger(ORDER, concurrency_key="c")).disposition == "created"


class TestCoalescing:
    async def test_joins_the_pending_run_and_tells_what_was_skipped(self, engine: Engine, record: Record) -> None:
        durably = engine(order)
        first = await durably.jobs.order.trigger(ORDER, concurrency_key="c", labels={"a": "1"})
        events = record(durably)
        late = {**ORDER, "customer": "Bob"}
        joined = await durably.jobs.order.trigger(late, concurrency_key="c", coalesce="skip", labels={"a": "2"})
        assert (joined.id, joined.disposition) == (first.id, "coalesced")
        assert (joined.input.customer, joined.labels) == ("Ada", {"a": "1"})
        assert [asdict(event) for event in events] == [
            {
                "type": "run:coalesced",
                "timestamp": NOON,
                "sequence": 2,
                "run_id": first.id,
                "job_name": "order",
                "labels": {"a": "1"},
                "skipped_input": late,
                "skipped_labels": {"a": "2"},
            }
        ]

    async def test_makes_a_run_where_there_is_none_to_join(self, engine: Engine, store: MemoryStore) -> None:
        handle = engine(order).jobs.order
        first = await handle.trigger(ORDER, concurrency_key="c", coalesce="skip")
        await store.claim_next("other", NOON, 1000)
        second = await handle.trigger(ORDER, concurrency_key="c", coalesce="skip")
        assert (first.disposition, second.disposition) == ("created", "created")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"coalesce": "skip"}, "coalesce needs a concurrency_key"),
            ({"coalesce": "join", "concurrency_key": "c"}, "coalesce must be \"skip\" or None, not 'join'"),
            ({"coalesce": True, "concurrency_key": "c"}, "not True"),
            ({"coalesce": "", "concurrency_key": "c"}, "not ''"),
        ],
    )
    async def test_is_asked_for_by_one_word_and_with_a_key(
        self, engine: Engine, options: dict[str, Any], message: str
    ) -> None:
        durably = engine(order)
        with pytest.raises(ValidationError, match=message):
            await durably.jobs.order.trigger(ORDER, **options)
        assert await durably.get_runs() == []


@pytest.mark.parametrize("option", ["idempotency_key", "concurrency_key"])
@pytest.mark.parametrize("key", ["", 5, b"k", ["k"]], ids=repr)
async def test_a_key_is_text_and_not_empty(engine: Engine, option: str, key: object) -> None:
    durably = engine(order)
    with pytest.raises(ValidationError, match=option) as raised:
        await durably.jobs.order.trigger(ORDER, **{option: key})
    assert repr(key) in str(raised.value)
    assert await durably.get_runs() == []


class TestLabels:
    async def test_are_kept_as_they_were_given(self, engine: Engine) -> None:
        durably = engine(order)
        labels = {"a-Z_0.9/x": "", "tenant": "Zoë"}
        result = await durably.jobs.order.trigger(ORDER, labels=labels)
        labels["tenant"] = "changed"
        result.labels["tenant"] = "changed"  # type: ignore[index]
        run = await durably.get_run(result.id)
        assert run is not None and run.labels == {"a-Z_0.9/x": "", "tenant": "Zoë"}

    @pytest.mark.parametrize("key", ["", "a b", "ä", "a:b", "a\n", 5], ids=repr)
    async def test_have_keys_of_few_characters(self, engine: Engine, key: Any) -> None:
        durably = engine(order)
        with pytest.raises(ValidationError, match=r"[Ll]abel") as raised:
            await durably.jobs.order.trigger(ORDER, labels={key: "x"})
        assert repr(key) in str(raised.value)
        assert await durably.get_runs() == []

    @pytest.mark.parametrize("value", [5, None, b"x", ["x"]], ids=repr)
    async def test_have_text_as_values(self, engine: Engine, value: Any) -> None:
        durably = engine(order)
        with pytest.raises(ValidationError, match=r"[Ll]abel 'tenant'") as raised:
            await durably.jobs.order.trigger(ORDER, labels={"tenant": value})
        assert repr(value) in str(raised.value)
        assert await durably.get_runs() == []

    @pytest.mark.parametrize("labels", [["tenant"], "tenant", 5, [("tenant", "x", "y")]], ids=repr)
    async def test_are_a_mapping(self, engine: Engine, labels: Any) -> None:
        durably = engine(order)
        with pytest.raises(ValidationError, match=r"[Ll]abels"):
            await durably.jobs.order.trigger(ORDER, labels=labels)
        assert await durably.get_runs() == []

    async def test_fit_the_engines_schema_also_when_none_are_given(self, engine: Engine) -> None:
        durably = engine(order, labels=Labels)
        assert (await durably.jobs.order.trigger(ORDER, labels={"tenant": "x"})).labels == {"tenant": "x"}
        for labels in (None, {}, {"other": "x"}):
            with pytest.raises(ValidationError, match=r"[Ii]nvalid labels.*tenant"):
                await durably.jobs.order.trigger(ORDER, labels=labels)
        assert len(await durably.get_runs()) == 1


class TestTelling:
    async def test_of_a_new_run(self, engine: Engine, record: Record, clock: FakeClock) -> None:
        durably = engine(order)
        events = record(durably)
        clock.advance(1500)
        result = await durably.jobs.order.trigger(ORDER, labels={"a": "1"})
        assert [asdict(event) for event in events] == [
            {
                "type": "run:trigger",
                "timestamp": "2026-01-01T00:00:01.500Z",
                "sequence": 1,
                "run_id": result.id,
                "job_name": "order",
                "labels": {"a": "1"},
                "input": ORDER,
            }
        ]

    async def test_follows_the_commit(self, engine: Engine, record: Record, intercept: Intercept) -> None:
        async def out_of_order() -> None:
            raise StoreError("disk full")

        store = intercept(MemoryStore())
        for call in ("enqueue", "enqueue_many"):
            store.before(call, out_of_order)
        durably = engine(order, store=store)
        events = record(durably)
        with pytest.raises(StoreError, match="disk full"):
            await durably.jobs.order.trigger(ORDER)
        assert events == []

    async def test_wakes_the_worker_at_once(self, engine: Engine, settle: Settle, at_once: AtOnce) -> None:
        durably = engine(order, polling_interval_ms=60_000)
        leased: list[Event] = []
        durably.on("run:leased", leased.append)
        await durably.init()
        await settle()
        result = await durably.jobs.order.trigger(ORDER)
        assert leased == []  # a trigger does not wait for what comes of it
        await settle()
        run = await durably.get_run(result.id)
        assert run is not None and run.status == "completed"
        await at_once(durably.stop())


class TestIdempotentHit:
    """A hit is looked up before labels, concurrency and coalescing are looked at."""

    OTHERS: tuple[dict[str, Any], ...] = (
        {"labels": {"not a key!": "x"}},
        {"labels": {"a": 1}},
        {"labels": 5},
        {"concurrency_key": ""},
        {"concurrency_key": 5},
        {"coalesce": "skip"},
        {"coalesce": "never", "concurrency_key": "k"},
    )

    @pytest.mark.parametrize("other", OTHERS, ids=repr)
    async def test_returns_the_run_whatever_else_is_given(self, engine: Engine, other: dict[str, Any]) -> None:
        durably = engine(HIT)
        first = await durably.jobs.hit.trigger(1, idempotency_key="k", labels={"a": "b"})
        again = await durably.jobs.hit.trigger(2, idempotency_key="k", **other)
        assert (again.id, again.disposition, again.labels, again.input) == (first.id, "idempotent", {"a": "b"}, 1)
        json = await durably.jobs.hit.trigger_json(2, idempotency_key="k", **other)
        assert (json.id, json.disposition) == (first.id, "idempotent")
        batch = await durably.jobs.hit.batch_trigger([3, TriggerItem(4, idempotency_key="k", **other)])
        assert [run.disposition for run in batch] == ["created", "idempotent"]

    @pytest.mark.parametrize("other", OTHERS, ids=repr)
    async def test_is_needed_for_that(self, engine: Engine, other: dict[str, Any]) -> None:
        durably = engine(HIT)
        await durably.jobs.hit.trigger(1, idempotency_key="k")
        for key in ({"idempotency_key": "another"}, {}):
            with pytest.raises(ValidationError):
                await durably.jobs.hit.trigger(2, **key, **other)
            with pytest.raises(ValidationError, match=r"at index 1"):
                await durably.jobs.hit.batch_trigger([3, TriggerItem(4, **key, **other)])
        assert len(await durably.get_runs()) == 1

    async def test_may_be_an_earlier_item_of_the_batch(self, engine: Engine) -> None:
        durably = engine(HIT)
        first, second = await durably.jobs.hit.batch_trigger(
            [TriggerItem(1, idempotency_key="k"), TriggerItem(2, idempotency_key="k", labels={"": ""})]
        )
        assert (first.id, first.disposition) == (second.id, "created")
        assert second.disposition == "idempotent"

    async def test_does_not_excuse_the_input_or_the_key(self, engine: Engine) -> None:
        durably = engine(HIT)
        await durably.jobs.hit.trigger(1, idempotency_key="k")
        with pytest.raises(ValidationError):
            await durably.jobs.hit.trigger("no number", idempotency_key="k", labels={"": ""})
        with pytest.raises(ValidationError, match="idempotency_key"):
            await durably.jobs.hit.trigger(1, idempotency_key="", labels={"": ""})


@define_job("hit")
async def HIT(step: StepContext, input: int) -> None: ...
