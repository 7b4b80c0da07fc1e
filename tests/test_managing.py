"""Managing runs: listing, triggering again, deleting, purging, and what an idle engine looks after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from durably_wasm import (
    ConflictError,
    Durably,
    Event,
    NotFoundError,
    Run,
    StepContext,
    StoreError,
    ValidationError,
    define_job,
)
from durably_wasm.models import to_iso
from durably_wasm.plugins import with_log_persistence
from durably_wasm.stores import MemoryStore
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import AtOnce, Engine, Intercept, Record, Settle

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@define_job("count")
async def count(step: StepContext, rows: int) -> int:
    if rows < 0:
        raise ValueError("fewer rows than none")
    await step.run("count", int)
    step.log.info("counted", rows)
    return rows


@define_job("mail")
async def mail(step: StepContext) -> None: ...


async def found(durably: Durably, run_id: str) -> Run:
    run = await durably.get_run(run_id)
    assert run is not None
    return run


async def ended(durably: Durably, rows: int = 3, **options: Any) -> Run:
    """A run of `count` that was executed to its end."""
    run = await durably.jobs["count"].trigger(rows, **options)
    assert await durably.process_one()
    return await found(durably, run.id)


def errors(events: list[Event], context: str) -> list[Any]:
    return [event for event in events if event.type == "worker:error" and event.context == context]  # type: ignore[attr-defined]


class TestRetrigger:
    @pytest.mark.parametrize("rows", [3, -1])
    async def test_makes_a_new_run_from_an_ended_one(
        self, engine: Engine, record: Record, clock: FakeClock, rows: int
    ) -> None:
        durably = engine(count)
        old = await ended(durably, rows, labels={"a": "1"}, concurrency_key="k", idempotency_key="i")
        clock.advance(5)
        events = record(durably)
        new = await durably.retrigger(old.id)
        assert type(new) is Run and new == await durably.get_run(new.id)
        assert new.id != old.id and await durably.get_run(old.id) == old
        assert (new.status, new.input, new.labels, new.concurrency_key) == ("pending", rows, {"a": "1"}, "k")
        assert (new.idempotency_key, new.lease_generation, new.started_at, new.error) == (None, 0, None, None)
        assert new.created_at == "2026-01-01T00:00:00.005Z"
        [event] = events
        assert (event.type, event.run_id, event.input, event.labels) == ("run:trigger", new.id, rows, {"a": "1"})  # type: ignore[attr-defined]

    async def test_works_for_a_cancelled_run_and_executes_every_step_again(self, engine: Engine) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(4)
        await durably.cancel(run.id)
        new = await durably.retrigger(run.id)
        assert await durably.process_until_idle() == 1
        again = await found(durably, new.id)
        assert (again.status, again.output, again.completed_step_count) == ("completed", 4, 1)

    async def test_wakes_the_worker(self, engine: Engine, settle: Settle) -> None:
        durably = engine(count)
        old = await ended(durably)
        durably.start()
        await settle()
        new = await durably.retrigger(old.id)
        await settle()
        assert (await found(durably, new.id)).status == "completed"
        await durably.stop()

    async def test_leaves_the_idempotency_key_to_the_first_run(self, engine: Engine) -> None:
        durably = engine(count)
        old = await ended(durably, idempotency_key="i")
        await durably.retrigger(old.id)
        again = await durably.jobs["count"].trigger(3, idempotency_key="i")
        assert (again.id, again.disposition) == (old.id, "idempotent")

    async def test_refuses_a_run_that_has_not_ended(self, engine: Engine, store: MemoryStore) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        with pytest.raises(ConflictError, match=f"Cannot retrigger run {run.id}: it is pending"):
            await durably.retrigger(run.id)
        await store.claim_next("other", run.created_at, 30_000)
        with pytest.raises(ConflictError, match=f"Cannot retrigger run {run.id}: it is leased"):
            await durably.retrigger(run.id)
        assert len(await durably.get_runs()) == 1

    async def test_refuses_where_a_pending_run_has_the_key(self, engine: Engine, record: Record) -> None:
        durably = engine(count)
        old = await ended(durably, concurrency_key="k")
        pending = await durably.jobs["count"].trigger(1, concurrency_key="k")
        events = record(durably)
        with pytest.raises(ConflictError, match=pending.id):
            await durably.retrigger(old.id)
        assert len(await durably.get_runs()) == 2 and events == []

    async def test_refuses_an_unknown_run_and_one_of_an_unknown_job(self, engine: Engine) -> None:
        durably = engine(count)
        old = await ended(durably)
        with pytest.raises(NotFoundError, match="no-such-run"):
            await durably.retrigger("no-such-run")
        with pytest.raises(NotFoundError, match=f"Cannot retrigger run {old.id}.*'count'"):
            await engine(mail).retrigger(old.id)
        assert len(await durably.get_runs()) == 1

    async def test_validates_the_input_again(self, engine: Engine) -> None:
        old = await ended(engine(count))

        @define_job("count")
        async def renamed(step: StepContext, rows: str) -> None: ...

        durably = engine(renamed)
        with pytest.raises(ValidationError, match=f"Cannot retrigger run {old.id}: .*'count'"):
            await durably.retrigger(old.id)
        assert len(await durably.get_runs()) == 1

    async def test_validates_the_labels_again(self, engine: Engine) -> None:
        old = await ended(engine(count), labels={"a": "x"})
        with pytest.raises(ValidationError, match="labels"):
            await engine(count, labels=dict[str, int]).retrigger(old.id)


class TestDelete:
    @pytest.mark.parametrize("rows", [3, -1])
    async def test_takes_all_that_belongs_to_an_ended_run(self, engine: Engine, record: Record, rows: int) -> None:
        durably = engine(count, preserve_steps=True).use(with_log_persistence())
        old = await ended(durably, 3, labels={"a": "1"})
        other = await ended(durably, rows)
        assert await durably.get_steps(old.id) and await durably.get_logs(old.id)
        events = record(durably)
        await durably.delete_run(old.id)
        assert await durably.get_run(old.id) is None
        assert not await durably.get_steps(old.id) and not await durably.get_logs(old.id)
        assert await durably.get_runs() == [other]
        [event] = events
        assert (event.type, event.run_id, event.job_name, event.labels) == ("run:delete", old.id, "count", {"a": "1"})  # type: ignore[attr-defined]

    async def test_frees_the_idempotency_key(self, engine: Engine) -> None:
        durably = engine(count)
        old = await ended(durably, idempotency_key="i")
        await durably.delete_run(old.id)
        again = await durably.jobs["count"].trigger(3, idempotency_key="i")
        assert again.disposition == "created" and again.id != old.id

    async def test_refuses_a_run_that_has_not_ended(self, engine: Engine, store: MemoryStore, record: Record) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3)
        events = record(durably)
        with pytest.raises(ConflictError, match=f"Cannot delete run {run.id}: it is pending"):
            await durably.delete_run(run.id)
        await store.claim_next("other", run.created_at, 30_000)
        with pytest.raises(ConflictError, match=f"Cannot delete run {run.id}: it is leased"):
            await durably.delete_run(run.id)
        assert (await found(durably, run.id)).status == "leased" and events == []

    async def test_refuses_an_unknown_run_and_a_second_time(self, engine: Engine) -> None:
        durably = engine(count)
        old = await ended(durably)
        await durably.delete_run(old.id)
        for run_id in (old.id, "no-such-run"):
            with pytest.raises(NotFoundError, match=run_id):
                await durably.delete_run(run_id)


class TestPurge:
    async def test_takes_ended_runs_from_before_a_time_oldest_first_without_a_word(
        self, engine: Engine, record: Record, clock: FakeClock
    ) -> None:
        durably = engine(count)
        runs = []
        for _ in range(4):
            runs.append(await ended(durably))
            clock.advance(1_000)
        pending = await durably.jobs["count"].trigger(1)
        events = record(durably)
        start = datetime(2026, 1, 1, tzinfo=UTC)
        assert await durably.purge_runs(start) == 0
        assert await durably.purge_runs(start + timedelta(seconds=3), limit=2) == 2
        assert [run.id for run in await durably.get_runs()] == [pending.id, runs[3].id, runs[2].id]
        assert await durably.purge_runs(start + timedelta(seconds=3)) == 1  # the last ended at that very moment
        assert await durably.purge_runs(start + timedelta(days=1), limit=0) == 0
        assert await durably.purge_runs(start + timedelta(days=1)) == 1
        assert [run.id for run in await durably.get_runs()] == [pending.id] and events == []

    async def test_takes_failed_and_cancelled_runs_too(self, engine: Engine, clock: FakeClock) -> None:
        durably = engine(count)
        await ended(durably, -1)
        await durably.cancel((await durably.jobs["count"].trigger(1)).id)
        clock.advance(1)
        assert await durably.purge_runs(clock.now()) == 2 and await durably.get_runs() == []

    async def test_understands_any_time_zone(self, engine: Engine, clock: FakeClock) -> None:
        durably = engine(count)
        await ended(durably)
        tokyo = timezone(timedelta(hours=9))
        assert await durably.purge_runs(datetime(2026, 1, 1, 8, 59, tzinfo=tokyo)) == 0
        assert await durably.purge_runs(datetime(2026, 1, 1, 9, 1, tzinfo=tokyo)) == 1

    @pytest.mark.parametrize("older_than", [datetime.min.replace(tzinfo=timezone(timedelta(hours=9)))])
    async def test_takes_nothing_from_before_all_times(self, engine: Engine, older_than: datetime) -> None:
        durably = engine(count)
        await ended(durably)
        assert await durably.purge_runs(older_than) == 0

    @pytest.mark.parametrize("older_than", [datetime(2030, 1, 1), "2030-01-01T00:00:00.000Z", 0, None])
    async def test_refuses_what_is_no_time(self, engine: Engine, older_than: Any) -> None:
        durably = engine(count)
        await ended(durably)
        with pytest.raises(ValidationError, match="older_than"):
            await durably.purge_runs(older_than)
        assert len(await durably.get_runs()) == 1

    @pytest.mark.parametrize("limit", [-1, 1.0, "1", None, True])
    async def test_refuses_a_wrong_limit(self, engine: Engine, limit: Any) -> None:
        durably = engine(count)
        await ended(durably)
        with pytest.raises(ValidationError, match="limit"):
            await durably.purge_runs(datetime(2030, 1, 1, tzinfo=UTC), limit=limit)
        assert len(await durably.get_runs()) == 1


class TestRetention:
    @pytest.mark.parametrize(
        ("retain_runs", "ms"),
        [("30d", 30 * DAY), ("24h", DAY), ("60m", HOUR), (timedelta(seconds=90), 90_000), (timedelta(days=2), 2 * DAY)],
    )
    async def test_keeps_ended_runs_that_long(
        self, engine: Engine, clock: FakeClock, retain_runs: str | timedelta, ms: int
    ) -> None:
        durably = engine(count, retain_runs=retain_runs)
        await ended(durably)
        clock.advance(ms)
        assert await durably.process_until_idle() == 0
        assert len(await durably.get_runs()) == 1
        clock.advance(MINUTE + 1)
        assert await durably.process_until_idle() == 0
        assert await durably.get_runs() == []

    async def test_leaves_runs_that_have_not_ended(self, engine: Engine, clock: FakeClock) -> None:
        durably, other = engine(count, retain_runs="60m"), engine(mail)
        run = await other.jobs["mail"].trigger()
        clock.advance(30 * DAY)
        await durably.process_until_idle()
        assert (await found(durably, run.id)).status == "pending"

    async def test_purges_once_a_minute_and_a_hundred_at_once(
        self, engine: Engine, clock: FakeClock, settle: Settle, record: Record
    ) -> None:
        durably = engine(count, retain_runs="60m", polling_interval_ms=1_000)
        for _ in range(201):
            await durably.cancel((await durably.jobs["count"].trigger(1)).id)
        clock.advance(2 * HOUR)
        events = record(durably)
        left: list[tuple[int, int]] = []
        durably.start()
        for second in range(130):
            await settle()
            if not left or left[-1][1] != len(await durably.get_runs()):
                left.append((second, len(await durably.get_runs())))
            clock.advance(1_000)
        await durably.stop()
        assert left == [(0, 101), (60, 1), (120, 0)]
        assert events == []

    async def test_does_nothing_unless_it_was_asked_for(self, engine: Engine, clock: FakeClock) -> None:
        durably = engine(count)
        await ended(durably)
        clock.advance(3650 * DAY)
        await durably.process_until_idle()
        assert len(await durably.get_runs()) == 1

    async def test_waits_until_nothing_is_due(self, engine: Engine, clock: FakeClock) -> None:
        durably = engine(count, retain_runs="60m")
        await ended(durably)
        clock.advance(2 * HOUR)
        await durably.jobs["count"].trigger(1)
        await durably.jobs["count"].trigger(1)
        assert await durably.process_until_idle(max_runs=1) == 1 and len(await durably.get_runs()) == 3
        assert await durably.process_until_idle() == 1 and len(await durably.get_runs()) == 2

    async def test_that_fails_is_told_and_disturbs_nobody(
        self, engine: Engine, clock: FakeClock, intercept: Intercept, record: Record
    ) -> None:
        async def fail() -> None:
            raise StoreError("disk full")

        store = intercept(MemoryStore())
        store.before("purge_runs", fail)
        durably = engine(count, store=store, retain_runs="60m")
        await ended(durably)
        events = record(durably)
        clock.advance(2 * HOUR)
        assert await durably.process_until_idle() == 0
        [error] = errors(events, "idle-maintenance")
        assert (error.error, error.run_id) == ("disk full", None)
        clock.advance(MINUTE)
        assert await durably.process_until_idle() == 0 and await durably.get_runs() == []

    async def test_may_be_longer_than_there_is_time(self, engine: Engine, record: Record) -> None:
        for retain_runs in ("999999d", timedelta.max):
            durably = engine(count, retain_runs=retain_runs)
            events = record(durably)
            await ended(durably)
            await durably.process_until_idle()
            assert errors(events, "idle-maintenance") == []


class TestUnknownJob:
    async def test_is_reported_once_a_name_and_its_runs_wait(self, engine: Engine, record: Record) -> None:
        page, durably = engine(count, mail), engine()
        runs: list[Run] = list(await page.jobs["count"].batch_trigger([1, 2]))
        runs.append(await page.jobs["mail"].trigger())
        events = record(durably)
        for _ in range(3):
            assert await durably.process_until_idle() == 0
        reported = errors(events, "unknown-job")
        assert len(reported) == len(events) == 2
        assert sorted(name for error in reported for name in ("count", "mail") if name in error.error) == [
            "count",
            "mail",
        ]
        assert {error.run_id for error in reported} <= {run.id for run in runs}
        assert [(await found(durably, run.id)).status for run in runs] == ["pending"] * 3

    async def test_is_reported_by_each_engine(self, engine: Engine, record: Record) -> None:
        await engine(count).jobs["count"].trigger(1)
        for durably in (engine(), engine(mail)):
            events = record(durably)
            await durably.process_until_idle()
            assert len(errors(events, "unknown-job")) == 1

    async def test_runs_once_it_is_registered(self, engine: Engine, settle: Settle) -> None:
        run = await engine(count).jobs["count"].trigger(1)
        durably = engine()
        durably.start()
        await settle()
        assert (await found(durably, run.id)).status == "pending"
        durably.register({"count": count})
        await settle()
        assert (await found(durably, run.id)).status == "completed"
        await durably.stop()

    async def test_is_found_behind_any_number_of_others(self, engine: Engine, record: Record, clock: FakeClock) -> None:
        page = engine(count, mail)
        await page.jobs["mail"].trigger()
        clock.advance(1)
        await page.jobs["count"].batch_trigger([1] * 250)
        durably = engine()
        events = record(durably)
        await durably.process_until_idle()
        assert len(errors(events, "unknown-job")) == 2


class TestGetRuns:
    @pytest.fixture
    async def durably(self, engine: Engine, clock: FakeClock) -> Durably:
        """Six runs, a second apart: of every status, of two jobs, with labels."""
        durably = engine(count, mail)
        for rows, labels in ((3, {"env": "live", "n": "0"}), (-1, {"env": "live"})):
            await ended(durably, rows, labels=labels)
            clock.advance(1_000)
        cancelled = await durably.jobs["mail"].trigger(labels={"env": "test"})
        await durably.cancel(cancelled.id)
        clock.advance(1_000)
        await durably.jobs["mail"].trigger()
        await durably.store.claim_next("other", to_iso(clock.now()), 30_000)
        clock.advance(1_000)
        await durably.jobs["count"].trigger(8, labels={"env": "test", "n": "0"})
        await durably.jobs["mail"].trigger(labels={"n": "0"})
        return durably

    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            ({}, "543210"),
            ({"status": "pending"}, "54"),
            ({"status": "leased"}, "3"),
            ({"status": ["completed", "failed"]}, "10"),
            ({"status": ("cancelled",)}, "2"),
            ({"status": []}, "543210"),
            ({"status": None, "job_name": None, "labels": None, "limit": None}, "543210"),
            ({"job_name": "count"}, "410"),
            ({"job_name": ["mail", "no-such-job"]}, "532"),
            ({"job_name": "no-such-job"}, ""),
            ({"job_name": []}, "543210"),
            ({"labels": {}}, "543210"),
            ({"labels": {"env": "live"}}, "10"),
            ({"labels": {"n": "0"}}, "540"),
            ({"labels": {"env": "test", "n": "0"}}, "4"),
            ({"labels": {"env": "liv"}}, ""),
            ({"labels": {"no-such-label": "0"}}, ""),
            ({"limit": 2}, "54"),
            ({"limit": 2, "offset": 3}, "21"),
            ({"offset": 4}, "10"),
            ({"offset": 6}, ""),
            ({"limit": 0}, ""),
            ({"limit": 0, "offset": 2}, ""),
            ({"status": "pending", "job_name": "count", "labels": {"n": "0"}, "limit": 1}, "4"),
            ({"status": ["pending", "leased"], "job_name": ["mail"], "limit": 1, "offset": 1}, "3"),
        ],
    )
    async def test_lists_what_matches_newest_first(
        self, durably: Durably, filter: Mapping[str, Any], expected: str
    ) -> None:
        oldest_first = [run.id for run in reversed(await durably.get_runs())]
        listed = [oldest_first.index(run.id) for run in await durably.get_runs(**filter)]
        assert "".join(map(str, listed)) == expected

    async def test_gives_the_runs_as_get_run_does(self, durably: Durably) -> None:
        for run in await durably.get_runs():
            assert run == await durably.get_run(run.id)
        assert await durably.get_run("no-such-run") is None

    async def test_pages_join_without_gap_or_overlap(self, durably: Durably) -> None:
        pages = [await durably.get_runs(limit=2, offset=offset) for offset in range(0, 8, 2)]
        assert [run for page in pages for run in page] == await durably.get_runs()

    async def test_of_a_handle_are_its_jobs_own(self, durably: Durably) -> None:
        handle = durably.jobs["count"]
        assert [run.input for run in await handle.get_runs()] == [8, -1, 3]
        assert [run.output for run in await handle.get_runs(status="completed")] == [3]
        assert [run.input for run in await handle.get_runs(labels={"n": "0"}, limit=1, offset=1)] == [3]
        other = (await durably.get_runs(job_name="mail"))[0]
        assert await handle.get_run(other.id) is None and await handle.get_run("no-such-run") is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("status", "done"),
            ("status", ["pending", "done"]),
            ("status", ""),
            ("status", 1),
            ("status", [None]),
            ("status", {"pending"}),
            ("job_name", 1),
            ("job_name", ["count", None]),
            ("job_name", b"count"),
            ("labels", "env"),
            ("labels", ["env"]),
            ("labels", {"env": 1}),
            ("labels", {"env": None}),
            ("labels", {1: "live"}),
            ("limit", -1),
            ("limit", "1"),
            ("limit", 1.5),
            ("limit", True),
            ("offset", -1),
            ("offset", None),
            ("offset", "1"),
            ("offset", False),
        ],
    )
    async def test_refuses_a_wrong_filter_by_its_name(self, durably: Durably, field: str, value: Any) -> None:
        with pytest.raises(ValidationError, match=field):
            await durably.get_runs(**{field: value})
        if field != "job_name":
            with pytest.raises(ValidationError, match=field):
                await durably.jobs["count"].get_runs(**{field: value})


class TestCancel:
    async def test_refuses_an_ended_run_and_an_unknown_one(self, engine: Engine, record: Record) -> None:
        durably = engine(count)
        old = await ended(durably)
        events = record(durably)
        with pytest.raises(ConflictError, match=f"Cannot cancel run {old.id}: it is completed"):
            await durably.cancel(old.id)
        with pytest.raises(NotFoundError, match="no-such-run"):
            await durably.cancel("no-such-run")
        assert events == [] and await durably.get_run(old.id) == old

    async def test_of_a_pending_run_ends_it_at_once(self, engine: Engine, record: Record, at_once: AtOnce) -> None:
        durably = engine(count)
        run = await durably.jobs["count"].trigger(3, labels={"a": "1"})
        events = record(durably)
        await at_once(durably.cancel(run.id))
        cancelled = await found(durably, run.id)
        assert (cancelled.status, cancelled.completed_at, cancelled.lease_generation) == (
            "cancelled",
            run.created_at,
            0,
        )
        assert [event.type for event in events] == ["run:cancel"]
        assert await durably.process_one() is False
