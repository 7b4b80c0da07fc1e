"""The rules of a run's life, as pure functions. The contract says them again, through every store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from durably_wasm import transitions
from durably_wasm.errors import ConflictError
from durably_wasm.models import TERMINAL, Crash, LastProgress, NewRun, NewStep, Progress, Run, RunError, RunStatus, Step

THEN = "2026-01-01T00:00:00.000Z"
NOW = "2026-01-01T00:01:00.000Z"
EXPIRY = "2026-01-01T00:01:30.000Z"

PENDING: Run = Run(
    id="a", job_name="import", input=[1], status="pending", labels={"x": "y"}, created_at=THEN, updated_at=THEN
)
LEASED: Run = replace(
    PENDING,
    status="leased",
    lease_owner="worker-1",
    lease_expires_at=NOW,
    lease_generation=3,
    started_at=THEN,
)
STEP = Step(id="s", run_id="a", name="parse", index=0, status="completed", output=1, started_at=THEN, completed_at=THEN)
NEW_STEP = NewStep("parse", 0, "completed", output=2, started_at=THEN)

WRITES: dict[str, Callable[[Run | None, int], object]] = {
    "renew": lambda run, generation: transitions.renew(run, generation, NOW, EXPIRY),
    "release": lambda run, generation: transitions.release(run, generation, NOW, key_is_pending=False),
    "release with its key pending": lambda run, generation: transitions.release(
        run, generation, NOW, key_is_pending=True
    ),
    "persist_step": lambda run, generation: transitions.persist_step(run, None, generation, NEW_STEP, "s", NOW, EXPIRY),
    "persist_step of a stored one": lambda run, generation: transitions.persist_step(
        run, STEP, generation, NEW_STEP, "s", NOW, EXPIRY
    ),
    "update_progress": lambda run, generation: transitions.update_progress(run, generation, Progress(1), NOW),
    "complete": lambda run, generation: transitions.complete(run, generation, None, NOW),
    "fail": lambda run, generation: transitions.fail(run, generation, RunError("boom"), NOW),
}


def changes(before: Run, after: Run | None) -> dict[str, Any]:
    """What differs, by field."""
    assert after is not None, "refused"
    names = [field.name for field in fields(Run)]
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_under_the_runs_generation_is_accepted(write: Callable[[Run | None, int], object]) -> None:
    assert write(LEASED, 3) is not None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_under_another_generation_is_refused(write: Callable[[Run | None, int], object]) -> None:
    assert [write(LEASED, generation) for generation in (0, 2, 4)] == [None, None, None]


@pytest.mark.parametrize("status", ["pending", *sorted(TERMINAL)])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_to_a_run_that_is_not_leased_is_refused(
    write: Callable[[Run | None, int], object], status: RunStatus
) -> None:
    assert write(replace(LEASED, status=status), 3) is None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_to_no_run_is_refused(write: Callable[[Run | None, int], object]) -> None:
    assert write(None, 0) is None


def test_a_new_run_is_pending_and_has_what_was_asked_for() -> None:
    new = NewRun("import", [1], "order-1", "shop-1", None, {"x": "y"})
    result = transitions.enqueue(new, "a", NOW, same_key=None, pending=None)
    assert result.disposition == "created"
    assert result.run == Run(
        id="a",
        job_name="import",
        input=[1],
        status="pending",
        idempotency_key="order-1",
        concurrency_key="shop-1",
        labels={"x": "y"},
        created_at=NOW,
        updated_at=NOW,
    )


def test_a_new_run_has_labels_of_its_own() -> None:
    labels = {"x": "y"}
    run = transitions.enqueue(NewRun("import", None, labels=labels), "a", NOW, same_key=None, pending=None).run
    labels["x"] = "z"
    assert run.labels == {"x": "y"}


@pytest.mark.parametrize("status", ["pending", "leased", *sorted(TERMINAL)])
def test_the_run_of_an_idempotency_key_comes_first_whatever_its_status(status: RunStatus) -> None:
    known = replace(LEASED, status=status)
    for new in (NewRun("import", None, "order-1", "shop-1"), NewRun("import", None, "order-1", "shop-1", "skip")):
        result = transitions.enqueue(new, "b", NOW, same_key=known, pending=replace(PENDING, id="c"))
        assert (result.disposition, result.run) == ("idempotent", known)


def test_a_pending_run_with_the_key_is_joined_or_stands_in_the_way() -> None:
    joining = NewRun("import", None, None, "shop-1", "skip")
    result = transitions.enqueue(joining, "b", NOW, same_key=None, pending=PENDING)
    assert (result.disposition, result.run) == ("coalesced", PENDING)
    with pytest.raises(ConflictError, match="shop-1"):
        transitions.enqueue(replace(joining, coalesce=None), "b", NOW, same_key=None, pending=PENDING)


def chosen(
    leased: list[Run], pending: list[Run], *, jobs: Any = None, exclude: Any = (), epoch: int | None = None
) -> str | None:
    run = transitions.next_claim(leased, pending, NOW, jobs=jobs, exclude=exclude, epoch=epoch)
    return None if run is None else run.id


def test_nothing_is_due_where_there_is_nothing() -> None:
    assert chosen([], []) is None


def test_the_oldest_that_is_due_is_claimed_first() -> None:
    old, new = replace(LEASED, id="old"), replace(LEASED, id="new", created_at=NOW)
    waiting = replace(PENDING, id="waiting", created_at="2026-01-01T00:00:30.000Z")
    assert chosen([new], [waiting]) == "waiting"
    assert chosen([new, old], [waiting]) == "old"
    assert chosen([new], []) == "new"
    assert chosen([replace(old, id="2"), replace(old, id="1")], []) == "1", "of one instant the smaller id"


def test_a_lease_may_be_taken_over_from_the_instant_it_expires() -> None:
    assert chosen([LEASED], []) == "a"
    assert chosen([replace(LEASED, lease_expires_at="2026-01-01T00:01:00.001Z")], []) is None


def test_only_runs_of_the_named_jobs_are_taken_over() -> None:
    assert chosen([LEASED], [], jobs=["import"]) == "a"
    assert chosen([LEASED], [], jobs=["export"]) is None
    assert chosen([LEASED], [], jobs=[]) is None


def test_runs_that_the_claimer_executes_are_passed_over() -> None:
    second = replace(PENDING, id="b")
    assert chosen([LEASED], [PENDING, second], exclude=["a"]) == "b"
    assert chosen([LEASED], [PENDING], exclude={"a"}) is None


def test_a_leased_run_holds_its_key_over_all_jobs_expired_or_not() -> None:
    waiting = replace(PENDING, id="b", concurrency_key="shop-1")
    for expires_at in (NOW, EXPIRY):
        holder = replace(LEASED, job_name="export", concurrency_key="shop-1", lease_expires_at=expires_at)
        assert chosen([holder], [waiting], jobs=["import"]) is None
        assert chosen([holder], [waiting, replace(PENDING, id="c")], jobs=["import"]) == "c"
        assert chosen([holder], [replace(waiting, concurrency_key="shop-2")], jobs=["import"]) == "b"


def test_pending_runs_are_read_as_far_as_needed() -> None:
    read = []

    def pending() -> Any:
        for n in range(9):
            read.append(n)
            yield replace(PENDING, id=str(n), concurrency_key="shop-1" if n < 3 else None)

    holder = replace(LEASED, concurrency_key="shop-1", lease_expires_at=EXPIRY)
    run = transitions.next_claim([holder], pending(), NOW, jobs=None, exclude=(), epoch=None)
    assert run is not None and run.id == "3"
    assert read == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("owner", "epoch", "void"),
    [
        ("lock-1-a1b2", 2, True),
        ("lock-9-a1b2", 10, True),
        ("lock-2-a1b2", 2, False),
        ("lock-10-a1b2", 9, False),
        ("lock-1-a1b2", None, False),
        ("worker-1", 2, False),
        ("lock-1", 2, False),
        ("lock-x-1", 2, False),
        ("lock-1a-b", 2, False),
        ("lock-01-a", 2, False),
        ("lock-0-a", 2, True),
        ("lock-\u0661-a", 2, False),
        ("xlock-1-a1b2", 2, False),
        ("", 2, False),
        (None, 2, False),
    ],
)
def test_a_lease_is_void_when_its_owner_held_the_lock_in_a_lower_epoch(
    owner: str | None, epoch: int | None, void: bool
) -> None:
    assert transitions.is_void(owner, epoch) is void
    held = replace(LEASED, lease_owner=owner, lease_expires_at=EXPIRY)
    assert chosen([held], [], epoch=epoch) == ("a" if void else None)


def test_a_claim_is_a_lease_under_a_new_generation() -> None:
    assert changes(PENDING, transitions.claim(PENDING, "worker-2", NOW, EXPIRY)) == {
        "status": "leased",
        "lease_owner": "worker-2",
        "lease_expires_at": EXPIRY,
        "lease_generation": 1,
        "started_at": NOW,
        "updated_at": NOW,
    }


def test_a_reclaim_keeps_the_first_start() -> None:
    assert changes(LEASED, transitions.claim(LEASED, "worker-2", NOW, EXPIRY)) == {
        "lease_owner": "worker-2",
        "lease_expires_at": EXPIRY,
        "lease_generation": 4,
        "updated_at": NOW,
    }


def test_renewal_extends_the_lease_also_after_it_expired() -> None:
    expired = replace(LEASED, lease_expires_at=THEN)
    for run in (LEASED, expired):
        assert changes(run, transitions.renew(run, 3, NOW, EXPIRY)) == {"lease_expires_at": EXPIRY, "updated_at": NOW}


def test_a_run_given_back_is_pending() -> None:
    assert changes(LEASED, transitions.release(LEASED, 3, NOW, key_is_pending=False)) == {
        "status": "pending",
        "lease_owner": None,
        "lease_expires_at": None,
        "updated_at": NOW,
    }


def test_a_run_given_back_while_its_key_is_pending_is_a_lease_that_is_over() -> None:
    held = replace(LEASED, lease_expires_at=EXPIRY)
    released = transitions.release(held, 3, NOW, key_is_pending=True)
    assert changes(held, released) == {"lease_expires_at": NOW, "updated_at": NOW}
    assert released is not None and transitions.is_over(released, NOW, None)


def test_an_expired_lease_goes_back_to_pending_unless_its_key_is_pending() -> None:
    released = transitions.expire(LEASED, NOW, key_is_pending=False)
    assert changes(LEASED, released) == {
        "status": "pending",
        "lease_owner": None,
        "lease_expires_at": None,
        "updated_at": NOW,
    }
    assert transitions.expire(LEASED, NOW, key_is_pending=True) is None
    assert transitions.expire(replace(LEASED, lease_expires_at=EXPIRY), NOW, key_is_pending=False) is None


@pytest.mark.parametrize("status", ["pending", *sorted(TERMINAL)])
def test_only_a_lease_expires(status: RunStatus) -> None:
    assert transitions.expire(replace(LEASED, status=status), NOW, key_is_pending=False) is None


def persisted(run: Run, stored: Step | None, new: NewStep) -> tuple[Run, Step]:
    outcome = transitions.persist_step(run, stored, 3, new, "new id", NOW, EXPIRY)
    assert outcome is not None
    return outcome


def test_a_completed_step_counts_and_extends_the_lease() -> None:
    run, step = persisted(LEASED, None, NewStep("parse", 4, "completed", output=[1], started_at=THEN))
    assert changes(LEASED, run) == {
        "current_step_index": 5,
        "completed_step_count": 1,
        "lease_expires_at": EXPIRY,
        "updated_at": NOW,
    }
    assert step == Step(
        id="new id",
        run_id="a",
        name="parse",
        index=4,
        status="completed",
        output=[1],
        started_at=THEN,
        completed_at=NOW,
    )


def test_a_failed_step_does_not_count() -> None:
    run, step = persisted(LEASED, None, NewStep("parse", 0, "failed", error="boom", started_at=THEN))
    assert (run.current_step_index, run.completed_step_count, run.lease_expires_at) == (0, 0, EXPIRY)
    assert (step.status, step.output, step.error) == ("failed", None, "boom")


def test_the_current_index_never_falls() -> None:
    run, _ = persisted(replace(LEASED, current_step_index=7), None, NewStep("parse", 2, "completed", started_at=THEN))
    assert run.current_step_index == 7


def test_the_repetition_of_a_failed_step_takes_its_place() -> None:
    failed = replace(STEP, id="old id", index=3, status="failed", output=None, error="boom")
    run, step = persisted(LEASED, failed, NewStep("parse", 3, "completed", output=2, started_at=NOW))
    assert step == replace(failed, status="completed", output=2, error=None, started_at=NOW, completed_at=NOW)
    assert run.completed_step_count == 1
    _, failed_again = persisted(LEASED, failed, NewStep("parse", 3, "failed", error="bang", started_at=NOW))
    assert (failed_again.id, failed_again.error) == ("old id", "bang")


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_completed_step_never_changes(status: Any) -> None:
    repetition = NewStep("parse", 9, status, output=2, error="boom", started_at=NOW)
    run, step = persisted(LEASED, STEP, repetition)
    assert (run, step) == (LEASED, STEP)


def test_progress_is_stored_and_cleared() -> None:
    moved = transitions.update_progress(LEASED, 3, Progress(1, 2, "half"), NOW)
    assert changes(LEASED, moved) == {"progress": Progress(1, 2, "half"), "updated_at": NOW}
    assert changes(LEASED, transitions.update_progress(moved, 3, None, NOW)) == {"updated_at": NOW}


ENDED = {"lease_owner": None, "lease_expires_at": None, "completed_at": NOW, "updated_at": NOW}


def test_a_run_completes_with_its_output_also_after_expiry() -> None:
    for run in (LEASED, replace(LEASED, lease_expires_at=THEN)):
        completed = transitions.complete(run, 3, {"count": 1}, NOW)
        assert changes(run, completed) == {**ENDED, "status": "completed", "output": {"count": 1}}


def test_a_run_fails_with_its_error_also_after_expiry() -> None:
    for run in (LEASED, replace(LEASED, lease_expires_at=THEN)):
        failed = transitions.fail(run, 3, RunError("boom", "ValueError", "Traceback"), NOW)
        assert changes(run, failed) == {
            **ENDED,
            "status": "failed",
            "error": "boom",
            "error_type": "ValueError",
            "error_traceback": "Traceback",
        }


def test_a_pending_or_leased_run_is_cancelled_whoever_holds_it() -> None:
    assert changes(LEASED, transitions.cancel(LEASED, NOW)) == {**ENDED, "status": "cancelled"}
    cancelled = transitions.cancel(PENDING, NOW)
    assert changes(PENDING, cancelled) == {"status": "cancelled", "completed_at": NOW, "updated_at": NOW}


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_end_is_final(status: RunStatus) -> None:
    assert transitions.cancel(replace(LEASED, status=status), NOW) is None


def test_no_run_is_not_cancelled() -> None:
    assert transitions.cancel(None, NOW) is None


def test_a_transition_leaves_the_row_it_was_given_alone() -> None:
    before = repr(LEASED)
    for write in WRITES.values():
        write(LEASED, 3)
    transitions.cancel(LEASED, NOW)
    transitions.claim(LEASED, "worker-2", NOW, EXPIRY)
    assert repr(LEASED) == before


def crash(count: int, *, steps: int = 0, reason: str = "a trap") -> Crash:
    return Crash(run_id="a", count=count, reason=reason, completed_step_count=steps)


def test_the_first_deaths_are_counted_and_change_nothing() -> None:
    assert transitions.crash(LEASED, None, "a trap", NOW) == (LEASED, crash(1))
    assert transitions.crash(LEASED, crash(1, reason="another"), "a trap", NOW) == (LEASED, crash(2))


def test_the_third_death_fails_the_run() -> None:
    counted = transitions.crash(LEASED, crash(2), "a trap", NOW)
    assert counted is not None
    assert counted[1] == crash(3)
    assert changes(LEASED, counted[0]) == {
        "status": "failed",
        "error": "crash loop: a trap",
        "error_type": "CrashLoop",
        "lease_owner": None,
        "lease_expires_at": None,
        "completed_at": NOW,
        "updated_at": NOW,
    }


def test_a_completed_step_makes_the_count_begin_anew() -> None:
    further = replace(LEASED, completed_step_count=1)
    assert transitions.crash(further, crash(2), "a trap", NOW) == (further, crash(1, steps=1))


@pytest.mark.parametrize("status", ["pending", *sorted(TERMINAL)])
def test_a_run_that_is_not_leased_has_no_part_in_a_death(status: RunStatus) -> None:
    assert transitions.crash(None, None, "a trap", NOW) is None
    assert transitions.crash(replace(LEASED, status=status), crash(2), "a trap", NOW) is None


def progress(generation: int, steps: int) -> LastProgress:
    return LastProgress(run_id="a", generation=generation, completed_step_count=steps)


@pytest.mark.parametrize(
    ("generation", "steps", "known", "last"),
    [
        (1, 0, None, (0, 0)),
        (7, 0, None, (0, 0)),
        (7, 0, (0, 0), (0, 0)),
        (2, 1, None, (1, 1)),
        (9, 5, (3, 4), (8, 5)),
        (9, 5, (8, 5), (8, 5)),
    ],
)
def test_the_last_progress_is_under_the_claim_before_the_one_that_finds_it(
    generation: int, steps: int, known: tuple[int, int] | None, last: tuple[int, int]
) -> None:
    assert transitions.last_progress("a", generation, steps, known and progress(*known)) == progress(*last)


@pytest.mark.parametrize(
    ("generation", "since", "most", "fails"),
    [(1, 0, 1, False), (2, 0, 1, True), (20, 0, 20, False), (21, 0, 20, True), (28, 8, 20, False), (29, 8, 20, True)],
)
def test_a_run_fails_at_the_claim_after_the_last_one_that_is_borne(
    generation: int, since: int, most: int, fails: bool
) -> None:
    error = transitions.no_progress(generation, progress(since, 3), most)
    assert (error is not None) is fails
    if error is not None:
        times = "once" if most == 1 else "20 times"
        assert error == RunError(f"no progress: it was claimed {times} and completed no step in between", "NoProgress")
