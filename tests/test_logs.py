"""A log line is written whatever it is made of, and takes no other line with it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from conftest import Engine, Record
from pydantic import BaseModel, SecretStr, model_serializer

from durably_wasm import LogWrite, StepContext, WorkerError, define_job, with_log_persistence
from durably_wasm.models import Log, NewLog
from durably_wasm.stores import MemoryStore


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class Raising(BaseModel):
    @model_serializer
    def fail(self) -> str:
        raise LookupError("no")


class Session(BaseModel):
    token: SecretStr


looped: list[Any] = []
looped.append(looped)

DATA = [
    (10**5000, "<int>"),
    ({"a": 10**5000}, "<dict>"),
    (math.nan, "nan"),
    ([math.inf], "[inf]"),
    ({1: 2}, "{1: 2}"),
    (Opaque(), "<opaque>"),
    ([Opaque(), 1], ["<opaque>", 1]),
    (Shy(), "<"),
    ({"a": Shy()}, "{'a': <"),
    (Raising(), "Raising()"),
    (looped, "[[...]]"),
    (Session(token=SecretStr("x")), {"token": "**********"}),
    ("\ud800", "\ud800"),
    (b"\xff", "_w=="),
    (None, None),
]


def begins(data: Any, expected: Any) -> bool:
    return data.startswith(expected) if isinstance(data, str) and isinstance(expected, str) else data == expected


@pytest.mark.parametrize(("data", "expected"), DATA, ids=[type(data).__name__ for data, _ in DATA])
async def test_data_that_json_cannot_hold_is_written_as_its_repr(
    engine: Engine, record: Record, data: Any, expected: Any
) -> None:
    @define_job("job")
    async def job(step: StepContext) -> None:
        step.log.info("before")
        step.log.info("it", data)
        step.log.info("after", {"n": 1})

    durably = engine(job).use(with_log_persistence())
    events = record(durably)
    run = await durably.jobs.job.trigger()
    await durably.process_one()
    told = [event for event in events if isinstance(event, LogWrite)]
    assert [event.message for event in told] == ["before", "it", "after"]
    assert begins(told[1].data, expected), told[1].data
    assert [(log.message, log.data) for log in await durably.get_logs(run.id)] == [(e.message, e.data) for e in told]


@pytest.mark.parametrize("message", [10**5000, Shy(), Opaque(), None, b"x", "\ud800"], ids=lambda m: type(m).__name__)
async def test_a_message_may_be_anything(engine: Engine, message: Any) -> None:
    @define_job("job")
    async def job(step: StepContext) -> None:
        step.log.warn(message)
        step.log.warn("after")

    durably = engine(job).use(with_log_persistence())
    run = await durably.jobs.job.trigger()
    await durably.process_one()
    ended = await durably.get_run(run.id)
    assert ended is not None and ended.status == "completed"
    first, second = await durably.get_logs(run.id)
    assert first.message and second.message == "after"


async def test_a_line_that_cannot_be_stored_takes_no_other_with_it(engine: Engine, record: Record) -> None:
    class Choosy(MemoryStore):
        async def create_log(self, log: NewLog) -> Log:
            if log.message == "bad":
                raise TypeError("no such text")
            return await super().create_log(log)

    @define_job("job")
    async def job(step: StepContext) -> None:
        for message in ("first", "bad", "last"):
            step.log.info(message)

    durably = engine(job, store=Choosy()).use(with_log_persistence())
    events = record(durably)
    run = await durably.jobs.job.trigger()
    await durably.process_one()
    assert [log.message for log in await durably.get_logs(run.id)] == ["first", "last"]
    [error] = [event for event in events if isinstance(event, WorkerError)]
    assert (error.context, error.error, error.run_id) == ("log", "no such text", run.id)
