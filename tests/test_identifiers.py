"""What may name a job and a step, and be a key or a label; anything else is refused before anything is stored."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import pytest
from conftest import Engine, Execute

from durably_wasm import StepContext, TriggerItem, ValidationError, define_job
from durably_wasm.identifiers import LONGEST, check_identifier, check_text
from durably_wasm.stores import MemoryStore


class Name(enum.StrEnum):
    PARSE = "parse"


Old = enum.Enum("Old", {"PARSE": "parse"}, type=str)


class Level(enum.IntEnum):
    HIGH = 1


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError


GOOD = [
    "a",
    " ",
    "Zoë",
    "日本",
    "😀",
    "\x01",
    "\n",
    "\ufeff",
    "\udbff\udfff".encode("utf-16", "surrogatepass").decode("utf-16"),
    "x" * LONGEST,
    "😀" * LONGEST,
]
BAD_TEXTS = ["\0", "a\0b", "\ud800", "file-\udcff", "\udfff\ud800", "x" * (LONGEST + 1)]
NO_TEXTS: list[Any] = [
    1,
    0,
    1.5,
    True,
    False,
    b"x",
    bytearray(b"x"),
    Path("x"),
    ("x",),
    ["x"],
    {"x": 1},
    Level.HIGH,
    object(),
    10**5000,
    Shy(),
]
BAD: list[Any] = ["", *BAD_TEXTS, *NO_TEXTS]


def id_of(value: object) -> str:
    return f"{type(value).__name__} {ascii(value)[:12]}" if isinstance(value, str | bytes) else type(value).__name__


bad = pytest.mark.parametrize("value", BAD, ids=id_of)
good = pytest.mark.parametrize("value", GOOD, ids=id_of)


@define_job("job")
async def job(step: StepContext) -> None: ...


class TestIdentifier:
    @good
    def test_passes(self, value: str) -> None:
        assert check_identifier("It", value) == value

    @bad
    def test_is_refused(self, value: object) -> None:
        with pytest.raises(ValidationError, match=r"^It must ") as refusal:
            check_identifier("It", value)
        assert len(str(refusal.value)) < 300

    @pytest.mark.parametrize("value", [None, *BAD_TEXTS, *NO_TEXTS], ids=id_of)
    def test_text_may_be_empty_and_nothing_else(self, value: object) -> None:
        assert check_text("It", "") == ""
        with pytest.raises(ValidationError, match=r"^It must "):
            check_text("It", value)

    @pytest.mark.parametrize("value", [*Name, *Old])
    def test_of_an_enumeration_is_its_value(self, value: str) -> None:
        text = check_identifier("It", value)
        assert text == "parse" and type(text) is str


class TestName:
    @pytest.mark.parametrize("value", [None, *BAD], ids=id_of)
    def test_of_a_job_is_refused(self, value: Any) -> None:
        async def run(step: StepContext) -> None: ...

        with pytest.raises(ValidationError, match=r"^A job's name must "):
            define_job(value, run=run)

    @pytest.mark.parametrize("value", [None, *BAD], ids=id_of)
    async def test_of_a_step_is_refused_before_its_function_is_called(self, execute: Execute, value: Any) -> None:
        calls: list[int] = []

        async def run(step: StepContext) -> None:
            await step.run(value, lambda: calls.append(1))

        ended, events = await execute(define_job("job", run=run))
        assert ended.status == "failed" and ended.error is not None
        assert ended.error.startswith("A step's name must ")
        assert calls == [] and not [event for event in events if event.type.startswith("step:")]

    async def test_of_a_step_may_be_a_member_of_an_enumeration(self, execute: Execute) -> None:
        async def run(step: StepContext) -> list[int]:
            return [await step.run(Name.PARSE, lambda: 1), await step.run("parse", lambda: 2)]

        ended, _ = await execute(define_job("job", run=run))
        assert ended.output == [1, 1]


class TestKey:
    @bad
    @pytest.mark.parametrize("name", ["idempotency_key", "concurrency_key"])
    async def test_is_refused_before_anything_is_stored(
        self, engine: Engine, store: MemoryStore, name: str, value: Any
    ) -> None:
        handle = engine(job).jobs.job
        item: TriggerItem[None] = TriggerItem(None, **{name: value})
        for call in (handle.trigger(**{name: value}), handle.batch_trigger([item])):
            with pytest.raises(ValidationError, match=f"^{name} must "):
                await call
        assert await handle.get_runs() == []

    async def test_may_be_any_other_text(self, engine: Engine) -> None:
        handle = engine(job).jobs.job
        runs = [await handle.trigger(idempotency_key=value, concurrency_key=value) for value in GOOD]
        assert len({run.id for run in runs}) == len(GOOD)
        assert [run.idempotency_key for run in runs] == GOOD


class TestLabel:
    @pytest.mark.parametrize("labels", [{value: "x"} for value in (*BAD_TEXTS, "", 1, b"x", None)], ids=id_of)
    async def test_key_is_refused(self, engine: Engine, labels: Any) -> None:
        with pytest.raises(ValidationError, match=r"[Ll]abel"):
            await engine(job).jobs.job.trigger(labels=labels)

    @pytest.mark.parametrize("value", [None, *BAD_TEXTS, *NO_TEXTS], ids=id_of)
    async def test_value_is_refused(self, engine: Engine, value: Any) -> None:
        handle = engine(job).jobs.job
        with pytest.raises(ValidationError, match="label 'a'"):
            await handle.trigger(labels={"a": value})
        assert await handle.get_runs() == []
