"""Events say what happened: each has its fields, a number and a time, and reaches every listener."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import FrozenInstanceError, asdict, fields
from typing import TYPE_CHECKING, get_args

import pytest

import durably_wasm
from durably_wasm import (
    Event,
    LogWrite,
    RunDelete,
    StepContext,
    ValidationError,
    WorkerError,
    define_job,
    is_domain_event,
)
from durably_wasm.events import EVENT_CLASSES, EVENT_TYPES, ErrorContext
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Record, Settle

STEP = {"run_id", "job_name", "step_name", "step_index", "labels"}
FIELDS = {
    "run:trigger": {"run_id", "job_name", "input", "labels"},
    "run:coalesced": {"run_id", "job_name", "labels", "skipped_input", "skipped_labels"},
    "run:leased": {"run_id", "job_name", "input", "lease_owner", "lease_expires_at", "labels"},
    "run:lease-renewed": {"run_id", "job_name", "lease_owner", "lease_expires_at", "labels"},
    "run:complete": {"run_id", "job_name", "output", "duration", "labels"},
    "run:fail": {"run_id", "job_name", "error", "failed_step_name", "labels"},
    "run:cancel": {"run_id", "job_name", "labels"},
    "run:delete": {"run_id", "job_name", "labels"},
    "run:progress": {"run_id", "job_name", "progress", "labels"},
    "step:start": STEP,
    "step:complete": {*STEP, "output", "duration"},
    "step:fail": {*STEP, "error"},
    "step:cancel": STEP,
    "log:write": {"run_id", "job_name", "labels", "step_name", "level", "message", "data"},
    "worker:error": {"error", "context", "run_id"},
}
DOMAIN = {"run:trigger", "run:coalesced", "run:complete", "run:fail", "run:cancel", "run:delete"}
CONTEXTS = {
    *("lease-renewal", "run-completion", "run-failure", "claim", "store", "progress", "log", "outbox", "crash"),
    *("idle-maintenance", "unknown-job"),
}


def deleted(run_id: str) -> RunDelete:
    return RunDelete(run_id=run_id, job_name="job", labels={})


class TestClasses:
    @pytest.mark.parametrize("type", FIELDS)
    def test_are_named_after_their_type_and_have_its_fields(self, type: str) -> None:
        name = "".join(word.capitalize() for word in type.replace(":", " ").replace("-", " ").split())
        cls = getattr(durably_wasm, name)
        assert cls.__dataclass_fields__["type"].default == type
        assert {field.name for field in fields(cls)} == {"type", "timestamp", "sequence"} | FIELDS[type]

    def test_are_all_there(self) -> None:
        assert list(EVENT_TYPES) == list(FIELDS)
        assert len(EVENT_CLASSES) == len(FIELDS)
        assert set(get_args(ErrorContext)) == CONTEXTS

    def test_are_immutable(self) -> None:
        with pytest.raises(FrozenInstanceError):
            deleted("1").run_id = "2"  # type: ignore[misc]

    @pytest.mark.parametrize("cls", EVENT_CLASSES)
    def test_are_domain_events_or_operational(self, cls: type[Event]) -> None:
        values = {field.name: None for field in fields(cls) if field.init}
        event = cls(**values)  # type: ignore[arg-type]
        assert is_domain_event(event) is (event.type in DOMAIN)


class TestEmit:
    def test_numbers_and_dates_events_of_one_engine(self, engine: Engine, record: Record, clock: FakeClock) -> None:
        one, two = engine(), engine()
        first, second = record(one), record(two)
        one.emit(deleted("a"))
        clock.advance(1)
        one.emit(WorkerError(error="no", context="claim", timestamp="ignored", sequence=99))
        two.emit(deleted("b"))
        at = ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.001Z")
        assert [(event.sequence, event.timestamp) for event in first] == [(1, at[0]), (2, at[1])]
        assert [(event.sequence, event.timestamp) for event in second] == [(1, at[1])]
        assert asdict(first[0]) == {
            "type": "run:delete",
            "timestamp": at[0],
            "sequence": 1,
            "run_id": "a",
            "job_name": "job",
            "labels": {},
        }

    def test_leaves_the_callers_event_as_it_is(self, engine: Engine) -> None:
        event = deleted("a")
        engine().emit(event)
        assert (event.sequence, event.timestamp) == (0, "")


class TestListeners:
    def test_hear_their_type_or_all_in_the_order_they_came(self, engine: Engine) -> None:
        heard: list[str] = []
        durably = engine()
        durably.on("run:delete", lambda event: heard.append(f"first {event.run_id}"))
        durably.on("*", lambda event: heard.append(f"all {event.type}"))
        durably.on("worker:error", lambda event: heard.append("never"))
        durably.on("run:delete", lambda event: heard.append(f"last {event.run_id}"))
        durably.emit(deleted("a"))
        assert heard == ["first a", "all run:delete", "last a"]

    def test_hear_nothing_after_they_unsubscribed(self, engine: Engine) -> None:
        heard: list[Event] = []
        durably = engine()
        off, _ = durably.on("run:delete", heard.append), durably.on("run:delete", heard.append)
        durably.emit(deleted("a"))
        assert len(heard) == 2
        off()
        off()  # of the two it was the first
        durably.emit(deleted("b"))
        assert len(heard) == 3

    def test_may_come_and_go_while_an_event_is_told(self, engine: Engine) -> None:
        heard: list[str] = []
        durably = engine()

        def once(event: Event) -> None:
            heard.append("once")
            off()
            durably.on("run:delete", lambda event: heard.append("later"))

        off = durably.on("run:delete", once)
        durably.on("run:delete", lambda event: heard.append("other"))
        durably.emit(deleted("a"))
        assert heard == ["once", "other"]
        durably.emit(deleted("b"))
        assert heard == ["once", "other", "other", "later"]

    def test_that_another_removes_during_an_event_do_not_get_it(self, engine: Engine) -> None:
        heard: list[str] = []
        durably = engine()
        durably.on("run:delete", lambda event: off())
        off = durably.on("run:delete", lambda event: heard.append("removed"))
        durably.on("*", lambda event: heard.append("kept"))
        durably.emit(deleted("a"))
        assert heard == ["kept"]

    @pytest.mark.parametrize("type", ["run:deleted", "", "run", "RunDelete"])
    def test_need_a_type_that_there_is(self, engine: Engine, type: str) -> None:
        with pytest.raises(ValidationError) as raised:
            engine().on(type, print)
        assert repr(type) in str(raised.value)
        assert all(known in str(raised.value) for known in (*FIELDS, "*"))


class TestFailingListener:
    def test_is_reported_and_stops_nobody(self, engine: Engine, record: Record) -> None:
        reported: list[tuple[BaseException, Event]] = []
        error = ValueError("a listener's own")

        def fail(event: Event) -> None:
            raise error

        durably = engine()
        durably.on_error(lambda error, event: pytest.fail("was replaced"))
        durably.on_error(lambda error, event: reported.append((error, event)))
        durably.on("run:delete", fail)
        events = record(durably)
        durably.emit(deleted("a"))
        assert len(events) == 1 and reported == [(error, events[0])]

    async def test_is_reported_also_when_its_coroutine_fails(
        self, engine: Engine, record: Record, settle: Settle
    ) -> None:
        reported: list[tuple[BaseException, Event]] = []
        error = ValueError("a listener's own")

        async def fail(event: Event) -> None:
            await asyncio.sleep(0)
            raise error

        durably = engine()
        durably.on_error(lambda error, event: reported.append((error, event)))
        durably.on("run:delete", fail)
        events = record(durably)
        durably.emit(deleted("a"))
        assert len(events) == 1 and reported == []
        await settle()
        assert reported == [(error, events[0])]

    def test_is_logged_by_default(self, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
        durably = engine()
        durably.on("run:delete", lambda event: 1 / 0)
        durably.emit(deleted("a"))
        [line] = caplog.records
        assert (line.name, line.levelno, "run:delete" in line.getMessage()) == ("durably_wasm", logging.ERROR, True)
        assert line.exc_info is not None and line.exc_info[0] is ZeroDivisionError

    def test_may_meet_an_error_listener_that_fails_too(
        self, engine: Engine, record: Record, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(error: BaseException, event: Event) -> None:
            raise OSError("and this one")

        durably = engine()
        durably.on_error(fail)
        durably.on("run:delete", lambda event: 1 / 0)
        events = record(durably)
        durably.emit(deleted("a"))
        assert len(events) == 1 and "and this one" in caplog.text

    async def test_does_not_disturb_a_run(self, engine: Engine, at_once: AtOnce) -> None:
        @define_job("job")
        async def job(step: StepContext) -> str:
            await step.run("one", int)
            return "done"

        reported: list[str] = []
        durably = engine(job)
        durably.on_error(lambda error, event: reported.append(event.type))
        durably.on("*", lambda event: 1 / 0)
        run = await durably.jobs.job.trigger()
        await at_once(durably.process_one())
        found = await durably.get_run(run.id)
        assert found is not None and (found.status, found.output) == ("completed", "done")
        assert reported == ["run:trigger", "run:leased", "step:start", "step:complete", "run:complete"]


async def test_stop_waits_for_the_listeners_coroutines(engine: Engine, settle: Settle) -> None:
    gate = asyncio.Event()
    heard: list[str] = []

    async def slow(event: LogWrite) -> None:
        await gate.wait()
        heard.append(event.message)

    durably = engine()
    durably.on("log:write", slow)
    durably.emit(LogWrite(run_id="a", job_name="job", labels={}, step_name=None, level="info", message="hello"))
    stopping = asyncio.create_task(durably.stop())
    await settle()
    assert not stopping.done()
    gate.set()
    await settle()
    assert stopping.done() and heard == ["hello"]


async def test_a_plugin_is_installed_on_the_engine(engine: Engine) -> None:
    class Recorder:
        name = "recorder"

        def __init__(self) -> None:
            self.events: list[Event] = []

        def install(self, durably: durably_wasm.Durably) -> None:
            durably.on("*", self.events.append)

    plugin = Recorder()
    durably = engine()
    assert durably.use(plugin) is durably
    durably.emit(deleted("a"))
    assert len(plugin.events) == 1
