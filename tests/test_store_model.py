"""Whatever two workers do to a store, in whatever order, it is what a model of a page says it is.

The model below is written from the semantics, not from `transitions`: it knows a run as one mutable record and decides
by looking at all of them. Run it long with ``HYPOTHESIS_PROFILE=thorough``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from contract.given import ALL, after
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from object_driver import FakeObjectDriver

from durably_wasm import ConflictError
from durably_wasm.models import EnqueueResult, Log, NewLog, NewRun, NewStep, Progress, Run, RunError, RunFilter, Step
from durably_wasm.stores import MemoryStore, SqliteStore, Store
from durably_wasm.stores.indexeddb import IndexedDbStore

T = TypeVar("T")

settings.register_profile("ci", max_examples=120, derandomize=True)
settings.register_profile("thorough", max_examples=10_000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
SETTINGS = settings(
    settings.get_profile(PROFILE),
    deadline=None,
    database=None,
    stateful_step_count=50,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
NO_TIMEOUT = pytest.mark.timeout(0 if PROFILE == "thorough" else 120)

STORES: dict[str, Callable[[], Store]] = {
    "memory": MemoryStore,
    "sqlite": lambda: SqliteStore(":memory:"),
    "indexeddb": lambda: IndexedDbStore(FakeObjectDriver()),
}

LEASE_MS = 1_000
JOBS = ("import", "mail")
KEYS = st.sampled_from([None, "k", "k", "k", "l"])
VALUES = st.sampled_from([None, 0, "text", {"b": [1, 2.5], "a": None}])
LABELS = st.sampled_from([{}, {"env": "test"}, {"env": "live", "a/b": "1"}])
STEPS = ("parse", "save", "tell")
WORKERS = {"worker-1": None, "worker-2": None, "lock-1-a": 1, "lock-2-b": 2}
NEW_RUNS = st.builds(
    NewRun,
    st.sampled_from(JOBS),
    VALUES,
    st.sampled_from([None, None, None, "once"]),
    KEYS,
    st.sampled_from([None, "skip"]),
    LABELS,
)
ATTEMPTS = st.tuples(  # of a step: which, how it ended, with what, after how long
    st.integers(0, len(STEPS) - 1), st.sampled_from(["completed", "failed"]), VALUES, st.integers(0, 3)
)
PICKS = st.tuples(st.sampled_from(["held"] * 6 + ["past", "next"]), st.integers(0, 9))
ENDED = ("completed", "failed", "cancelled")


@dataclass(eq=False)
class Known:
    """What the model knows of a run. Times are milliseconds."""

    id: str
    new: NewRun
    created: int
    updated: int
    status: str = "pending"
    owner: str | None = None
    expires: int | None = None
    generation: int = 0
    started: int | None = None
    ended: int | None = None
    progress: Progress | None = None
    output: Any = None
    error: RunError | None = None
    highest_index: int = -1
    completed_steps: int = 0
    deaths: list[int] = field(default_factory=list)  # the completed steps at each
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)

    def is_held_by(self, generation: int) -> bool:
        return self.status == "leased" and self.generation == generation

    def end(self, status: str, now: int, keep_steps: bool) -> None:
        self.status, self.ended, self.updated = status, now, now
        self.owner = self.expires = None
        if not keep_steps:
            self.steps.clear()

    def unlease(self, now: int) -> None:
        self.status, self.owner, self.expires, self.updated = "pending", None, None, now

    def row(self) -> dict[str, Any]:
        """Return what the store should say of it."""
        error = self.error or RunError("")
        return {
            "id": self.id,
            "job_name": self.new.job_name,
            "input": self.new.input,
            "status": self.status,
            "idempotency_key": self.new.idempotency_key,
            "concurrency_key": self.new.concurrency_key,
            "current_step_index": self.highest_index + 1,
            "completed_step_count": self.completed_steps,
            "progress": self.progress,
            "output": self.output,
            "error": error.message if self.error else None,
            "error_type": error.type,
            "error_traceback": error.traceback,
            "labels": self.new.labels,
            "lease_owner": self.owner,
            "lease_expires_at": at(self.expires),
            "lease_generation": self.generation,
            "started_at": at(self.started),
            "completed_at": at(self.ended),
            "created_at": at(self.created),
            "updated_at": at(self.updated),
        }


class Interleavings(RuleBasedStateMachine):
    """Two workers and their users, one call after another; after each the store is compared with the model."""

    ids = Bundle("ids")

    def __init__(self, open_store: Callable[[], Store]) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = open_store()
        self.now = 0
        self.model: dict[str, Known] = {}
        self.generations: dict[str, int] = {}
        self.leases: list[tuple[str, int]] = []  # every one there was
        self.last_seen: dict[str, Run] = {}
        self.checkpoints: dict[tuple[str, str], Step] = {}

    def do(self, call: Awaitable[T]) -> T:
        return self.loop.run_until_complete(call)  # type: ignore[arg-type]

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()

    @initialize(target=ids, news=st.lists(NEW_RUNS, max_size=4))
    def begin(self, news: list[NewRun]) -> MultipleResults[str]:
        self.do(self.store.migrate())
        return self.enqueue_many(news)

    @rule(ms=st.sampled_from([1, LEASE_MS // 2, LEASE_MS, 10 * LEASE_MS]))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    # --- Triggers ---------------------------------------------------------------------------------------------

    @rule(target=ids, new=NEW_RUNS, slow=st.sampled_from([0, 0, 0, 1, LEASE_MS]))
    def enqueue(self, new: NewRun, slow: int) -> str | MultipleResults[str]:
        """A clock may be `slow` milliseconds behind: then the run is older than others that came before it."""
        expected = self.led_to([new])
        try:
            result = self.do(self.store.enqueue(new, after(self.now - slow)))
        except ConflictError:
            assert expected is None
            return multiple()
        assert expected is not None
        return self.keep([new], expected, [result], self.now - slow)[0]

    @rule(target=ids, news=st.lists(NEW_RUNS, max_size=4))
    def trigger_many(self, news: list[NewRun]) -> MultipleResults[str]:
        return self.enqueue_many(news)

    def enqueue_many(self, news: list[NewRun]) -> MultipleResults[str]:
        expected = self.led_to(news)
        try:
            results = self.do(self.store.enqueue_many(news, after(self.now)))
        except ConflictError:
            assert expected is None
            return multiple()
        assert expected is not None and len(results) == len(news)
        return multiple(*self.keep(news, expected, results, self.now))

    def led_to(self, news: list[NewRun]) -> list[tuple[str, str | int]] | None:
        """Return what each leads to, a run's id or the place of an earlier one in the list; None for a conflict."""
        by_key: dict[tuple[str, str], str | int] = {}
        pending: dict[tuple[str, str], str | int] = {}
        for run in self.model.values():
            if run.new.idempotency_key is not None:
                by_key[run.new.job_name, run.new.idempotency_key] = run.id
            if run.new.concurrency_key is not None and run.status == "pending":
                pending[run.new.job_name, run.new.concurrency_key] = run.id
        outcomes: list[tuple[str, str | int]] = []
        for place, new in enumerate(news):
            if (same := by_key.get((new.job_name, new.idempotency_key or ""))) is not None:
                outcomes.append(("idempotent", same))
            elif (other := pending.get((new.job_name, new.concurrency_key or ""))) is None:
                outcomes.append(("created", place))
                by_key |= {(new.job_name, key): place for key in [new.idempotency_key] if key is not None}
                pending |= {(new.job_name, key): place for key in [new.concurrency_key] if key is not None}
            elif new.coalesce == "skip":
                outcomes.append(("coalesced", other))
            else:
                return None
        return outcomes

    def keep(
        self, news: list[NewRun], expected: list[tuple[str, str | int]], results: list[EnqueueResult], now: int
    ) -> list[str]:
        ids: list[str] = []
        for new, (disposition, where), result in zip(news, expected, results, strict=True):
            assert result.disposition == disposition
            if disposition == "created":
                assert result.run.id not in self.model and result.run.id not in self.generations
                self.model[result.run.id] = Known(result.run.id, new, now, now)
                self.generations[result.run.id] = 0
            else:
                assert result.run.id == (where if isinstance(where, str) else ids[where])
            assert row_of(result.run) == self.model[result.run.id].row()
            ids.append(result.run.id)
        return ids

    # --- Claims and leases ------------------------------------------------------------------------------------

    @rule(worker=st.sampled_from(sorted(WORKERS)))
    def claim_any(self, worker: str) -> None:
        self.claim(worker, None, [])

    @rule(
        worker=st.sampled_from(sorted(WORKERS)),
        jobs=st.sampled_from([None, JOBS, JOBS[:1], JOBS[1:], ()]),
        exclude=st.lists(ids, max_size=3),
    )
    def claim_some(self, worker: str, jobs: tuple[str, ...] | None, exclude: list[str]) -> None:
        self.claim(worker, jobs, exclude)

    def claim(self, worker: str, jobs: tuple[str, ...] | None, exclude: list[str]) -> None:
        epoch = WORKERS[worker]
        expected = self.due(jobs, exclude, epoch)
        claimed = self.do(
            self.store.claim_next(worker, after(self.now), LEASE_MS, jobs=jobs, exclude=exclude, epoch=epoch)
        )
        assert (claimed and claimed.id) == (expected and expected.id)
        if claimed is None or expected is None:
            return
        expected.status, expected.owner, expected.expires = "leased", worker, self.now + LEASE_MS
        expected.generation += 1
        expected.started = self.now if expected.started is None else expected.started
        expected.updated = self.now
        assert row_of(claimed) == expected.row()
        self.leases.append((claimed.id, claimed.lease_generation))

    def due(self, jobs: tuple[str, ...] | None, exclude: list[str], epoch: int | None) -> Known | None:
        """Return the oldest run that may be claimed."""
        for run in sorted(self.model.values(), key=lambda run: (run.created, run.id)):
            if run.id in exclude or (jobs is not None and run.new.job_name not in jobs):
                continue
            if run.status == "pending" and not self.is_held(run.new.concurrency_key):
                return run
            if run.status == "leased" and (is_past(run.expires, self.now) or is_dead(run.owner, epoch)):
                return run
        return None

    def is_held(self, key: str | None) -> bool:
        return key is not None and any(
            run.status == "leased" and run.new.concurrency_key == key for run in self.model.values()
        )

    def key_is_pending(self, run: Known) -> bool:
        return run.new.concurrency_key is not None and any(
            other.status == "pending"
            and (other.new.job_name, other.new.concurrency_key) == (run.new.job_name, run.new.concurrency_key)
            for other in self.model.values()
        )

    @precondition(lambda self: self.leases)
    @rule(pick=PICKS, lease_ms=st.sampled_from([1, LEASE_MS, 3 * LEASE_MS]))
    def renew(self, pick: tuple[str, int], lease_ms: int) -> None:
        lease = self.picked(*pick)
        run = self.holder(*lease)
        assert self.do(self.store.renew_lease(*lease, after(self.now), lease_ms)) is (run is not None)
        if run is not None:
            run.expires, run.updated = self.now + lease_ms, self.now

    @precondition(lambda self: self.leases)
    @rule(pick=PICKS)
    def release(self, pick: tuple[str, int]) -> None:
        lease = self.picked(*pick)
        run = self.holder(*lease)
        assert self.do(self.store.release_lease(*lease, after(self.now))) is (run is not None)
        if run is not None and self.key_is_pending(run):
            run.expires, run.updated = self.now, self.now
        elif run is not None:
            run.unlease(self.now)

    @rule(later=st.sampled_from([0, LEASE_MS, 3 * LEASE_MS]))
    def release_expired(self, later: int) -> None:
        self.now += later
        expired = [
            run
            for run in self.model.values()
            if run.status == "leased" and is_past(run.expires, self.now) and not self.key_is_pending(run)
        ]
        for run in expired:
            run.unlease(self.now)
        assert self.do(self.store.release_expired_leases(after(self.now))) == len(expired)

    def picked(self, which: str, number: int) -> tuple[str, int]:
        """Return a lease that is held, if any is, or one of all there were, or one that there is not yet."""
        held = [(run.id, run.generation) for run in self.model.values() if run.status == "leased"]
        leases = held if held and which == "held" else self.leases
        run_id, generation = leases[number % len(leases)]
        return run_id, generation + (which == "next")

    def holder(self, run_id: str, generation: int) -> Known | None:
        """Return the run if it is leased under that generation."""
        run = self.model.get(run_id)
        return run if run is not None and run.is_held_by(generation) else None

    # --- A lease-holder's writes ------------------------------------------------------------------------------

    @precondition(lambda self: self.leases)
    @rule(pick=PICKS, attempts=st.lists(ATTEMPTS, min_size=1, max_size=3))
    def execute(self, pick: tuple[str, int], attempts: list[tuple[int, Any, Any, int]]) -> None:
        lease = self.picked(*pick)
        for attempt in attempts:
            self.checkpoint(lease, *attempt)
            self.log(lease[0])

    def checkpoint(self, lease: tuple[str, int], index: int, status: Any, value: Any, began: int) -> None:
        name = STEPS[index]
        output, error = (value, None) if status == "completed" else (None, "boom")
        new = NewStep(name, index, status, output=output, error=error, started_at=after(self.now - began))
        step = self.do(self.store.persist_step(*lease, new, after(self.now), 2 * LEASE_MS))
        run = self.holder(*lease)
        if run is None:
            assert step is None
            return
        assert step is not None
        stored = run.steps.get(name)
        if stored is None or stored["status"] == "failed":
            run.steps[name] = {
                "id": stored["id"] if stored else step.id,
                "run_id": run.id,
                "name": name,
                "index": index,
                "status": status,
                "output": output,
                "error": error,
                "started_at": after(self.now - began),
                "completed_at": after(self.now),
            }
            if status == "completed":
                run.highest_index = max(run.highest_index, index)
            run.completed_steps += status == "completed"
            run.expires, run.updated = self.now + 2 * LEASE_MS, self.now
        assert row_of(step) == run.steps[name]

    @precondition(lambda self: self.leases)
    @rule(pick=PICKS, current=st.integers(0, 9), total=st.sampled_from([None, 9, 2.5]))
    def progress(self, pick: tuple[str, int], current: int, total: float | None) -> None:
        lease = self.picked(*pick)
        progress, run = Progress(current, total, "on it"), self.holder(*lease)
        assert self.do(self.store.update_progress(*lease, progress, after(self.now))) is (run is not None)
        if run is not None:
            run.progress, run.updated = progress, self.now

    @precondition(lambda self: self.leases)
    @rule(pick=PICKS, how=st.sampled_from(["completed", "failed"]), output=VALUES, keep_steps=st.booleans())
    def end(self, pick: tuple[str, int], how: str, output: Any, keep_steps: bool) -> None:
        lease, now, error = self.picked(*pick), after(self.now), RunError("boom", "ValueError", "Traceback …")
        run = self.holder(*lease)
        if how == "completed":
            done = self.do(self.store.complete_run(*lease, output, now, keep_steps=keep_steps))
        else:
            done = self.do(self.store.fail_run(*lease, error, now, keep_steps=keep_steps))
        assert done is (run is not None)
        if run is not None:
            run.output, run.error = (output, None) if how == "completed" else (None, error)
            run.end(how, self.now, keep_steps)

    @rule(run_ids=st.lists(ids, max_size=3, unique=True), keep_steps=st.booleans())
    def die(self, run_ids: list[str], keep_steps: bool) -> None:
        leased = [run for run in map(self.model.get, run_ids) if run is not None and run.status == "leased"]
        for run in leased:
            run.deaths.append(run.completed_steps)
        looping = [run for run in leased if run.deaths.count(run.completed_steps) == 3]
        failed = self.do(self.store.record_crash(run_ids, "a trap", after(self.now), keep_steps=keep_steps))
        assert failed == [run.id for run in looping]
        for run in looping:
            run.error = RunError("crash loop: a trap", "CrashLoop")
            run.end("failed", self.now, keep_steps)

    # --- What users do ----------------------------------------------------------------------------------------

    @rule(run_id=ids, keep_steps=st.booleans())
    def cancel(self, run_id: str, keep_steps: bool) -> None:
        run = self.model.get(run_id)
        may = run is not None and run.status not in ENDED
        assert self.do(self.store.cancel_run(run_id, after(self.now), keep_steps=keep_steps)) is may
        if run is not None and may:
            run.end("cancelled", self.now, keep_steps)

    def log(self, run_id: str) -> None:
        if run_id not in self.model:
            return
        message = f"line {len(self.model[run_id].logs)}"
        stored = self.do(self.store.create_log(NewLog(run_id, None, "info", message, created_at=after(self.now))))
        assert (stored.run_id, stored.message) == (run_id, message)
        self.model[run_id].logs.append(message)

    @rule(run_id=ids, age=st.sampled_from([None, None, 0, 1, LEASE_MS]), limit=st.sampled_from([0, 1, 2, 500]))
    def forget(self, run_id: str, age: int | None, limit: int) -> None:
        if age is None:
            self.delete(run_id)
        else:
            self.purge(age, limit)

    def delete(self, run_id: str) -> None:
        self.do(self.store.delete_run(run_id))
        self.model.pop(run_id, None)

    def purge(self, age: int, limit: int) -> None:
        before = self.now - age
        ended = [run for run in self.model.values() if run.ended is not None and run.ended < before]
        oldest = sorted(ended, key=lambda run: (run.ended, run.id))[:limit]
        assert self.do(self.store.purge_runs(after(before), limit)) == len(oldest)
        for run in oldest:
            del self.model[run.id]

    @rule(
        status=st.one_of(st.none(), st.lists(st.sampled_from(["pending", "leased", *ENDED]), max_size=3)),
        job_name=st.one_of(st.none(), st.sampled_from(JOBS), st.lists(st.sampled_from(JOBS), max_size=2)),
        labels=st.one_of(st.none(), LABELS),
        limit=st.sampled_from([None, 0, 1, 3]),
        offset=st.sampled_from([0, 1, 4]),
    )
    def list_some(self, status: Any, job_name: Any, labels: Any, limit: int | None, offset: int) -> None:
        jobs = [job_name] if isinstance(job_name, str) else job_name
        matching = [
            run.row()
            for run in self.newest_first()
            if (not status or run.status in status)
            and (not jobs or run.new.job_name in jobs)
            and all(run.new.labels.get(key) == value for key, value in (labels or {}).items())
        ]
        found = self.do(self.store.get_runs(RunFilter(status, job_name, labels, limit, offset)))
        assert [row_of(run) for run in found] == matching[offset:][:limit]

    # --- What always holds ------------------------------------------------------------------------------------

    def newest_first(self) -> list[Known]:
        return sorted(self.model.values(), key=lambda run: (run.created, run.id), reverse=True)

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        runs = self.do(self.store.get_runs(ALL))
        assert [row_of(run) for run in runs] == [run.row() for run in self.newest_first()], "listed, newest first"
        for run in self.model.values():
            steps = self.do(self.store.get_steps(run.id))
            assert [row_of(step) for step in steps] == sorted(run.steps.values(), key=lambda step: step["index"])
            assert [log.message for log in self.do(self.store.get_logs(run.id))] == run.logs
        self.check_keys(runs)
        self.check_history(runs)

    @invariant()
    def nothing_is_left_of_what_was_deleted(self) -> None:
        for run_id in self.generations.keys() - self.model.keys():
            assert self.do(self.store.get_run(run_id)) is None
            assert not self.do(self.store.get_steps(run_id)) and not self.do(self.store.get_logs(run_id))

    def check_keys(self, runs: list[Run]) -> None:
        """Whatever the model says: one leased run at most per key, and one pending run per job and key."""
        leased = [run.concurrency_key for run in runs if run.status == "leased" and run.concurrency_key is not None]
        assert len(leased) == len(set(leased)), "two leased runs have one concurrency key"
        pending = [
            (run.job_name, run.concurrency_key)
            for run in runs
            if run.status == "pending" and run.concurrency_key is not None
        ]
        assert len(pending) == len(set(pending)), "two pending runs have one job and concurrency key"
        asked = [(run.job_name, run.idempotency_key) for run in runs if run.idempotency_key is not None]
        assert len(asked) == len(set(asked)), "two runs have one job and idempotency key"

    def check_history(self, runs: list[Run]) -> None:
        """Whatever the model says: generations only grow, completed steps never change, and an end is an end."""
        for run in runs:
            assert run.lease_generation >= self.generations[run.id], "a generation went back"
            self.generations[run.id] = run.lease_generation
            before = self.last_seen.get(run.id, run)
            assert before.status not in ENDED or before == run, "an ended run changed"
            self.last_seen[run.id] = run
            for step in self.do(self.store.get_steps(run.id)):
                if step.status == "completed":
                    assert self.checkpoints.setdefault((run.id, step.name), step) == step, "a completed step changed"


@NO_TIMEOUT
@pytest.mark.parametrize("store", STORES)
def test_a_store_does_what_the_model_does(store: str) -> None:
    run_state_machine_as_test(lambda: Interleavings(STORES[store]), settings=SETTINGS)


def at(ms: int | None) -> str | None:
    return None if ms is None else after(ms)


def is_past(expires: int | None, now: int) -> bool:
    return expires is not None and expires <= now


def is_dead(owner: str | None, epoch: int | None) -> bool:
    """Say whether a lease's owner held the lock in an epoch before this one."""
    theirs = WORKERS[owner] if owner else None
    return theirs is not None and epoch is not None and theirs < epoch


def row_of(stored: Run | Step | Log) -> dict[str, Any]:
    return {name: getattr(stored, name) for name in stored.__dataclass_fields__}
