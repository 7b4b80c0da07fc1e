"""Deaths of Python: counted against the runs that were leased, begun anew by progress, and in a loop a run's end."""

from __future__ import annotations

from durably_wasm.models import Run
from durably_wasm.stores import Store

from .given import (
    ENDS,
    LEASE_MS,
    NOW,
    after,
    again,
    checkpointed,
    claimed,
    contents,
    enqueued,
    leased,
    refuses_all_writes,
)

REASON = "RuntimeError: memory access out of bounds"


async def the_third_death_without_progress_fails_the_run(store: Store) -> None:
    run = await claimed(store, input=[1], concurrency_key="k")
    for ms in (1, 2):
        before = await contents(store)
        assert await _died(store, run, ms) == []
        assert await contents(store) == before
    assert await _died(store, run, 3) == [run.id]
    failed = await again(store, run)
    assert (failed.status, failed.error, failed.error_type) == ("failed", f"crash loop: {REASON}", "CrashLoop")
    assert (failed.completed_at, failed.updated_at, failed.input) == (after(3), after(3), [1])
    assert (failed.lease_owner, failed.lease_expires_at, failed.error_traceback) == (None, None, None)
    await refuses_all_writes(store, run.id, run.lease_generation)


async def a_completed_step_begins_the_count_anew(store: Store) -> None:
    run = await claimed(store)
    for n in range(4):
        for _ in range(2):
            assert await _died(store, run) == []
        await checkpointed(store, run, name=f"step-{n}", index=n)
    assert [await _died(store, run) for _ in range(3)] == [[], [], [run.id]]


async def an_attempt_that_failed_is_no_progress(store: Store) -> None:
    run = await claimed(store)
    for _ in range(2):
        assert await _died(store, run) == []
        await checkpointed(store, run, status="failed", error="boom")
    assert await _died(store, run) == [run.id]


async def deaths_are_counted_over_many_leases(store: Store) -> None:
    run = await claimed(store, worker_id="lock-1-a")
    for epoch in (2, 3):
        assert await _died(store, run) == []
        got = await store.claim_next(f"lock-{epoch}-a", after(epoch), LEASE_MS, epoch=epoch)
        assert got is not None and got.id == run.id
    assert await _died(store, run) == [run.id]


async def each_run_has_a_count_of_its_own(store: Store) -> None:
    first, second = await claimed(store), await claimed(store)
    await _died(store, first)
    assert await store.record_crash([first.id, second.id], REASON, NOW) == []
    assert await store.record_crash([second.id, first.id], REASON, NOW) == [first.id]
    assert (await again(store, second)).status == "leased"
    assert await store.record_crash([first.id, second.id], "of another", after(9)) == [second.id]
    assert (await again(store, second)).error == "crash loop: of another"
    assert (await again(store, first)).error == f"crash loop: {REASON}"


async def only_leased_runs_can_have_been_the_cause(store: Store) -> None:
    others = [await enqueued(store), *[await end(store) for end in ENDS.values()]]
    before = await contents(store)
    for _ in range(4):
        assert await store.record_crash([*[run.id for run in others], "no such run"], REASON, after(1)) == []
    assert await store.record_crash([], REASON, after(1)) == []
    assert await contents(store) == before
    pending = await leased(store, others[0])
    assert await _died(store, pending) == []


async def a_crash_loop_deletes_the_steps_unless_they_are_kept(store: Store) -> None:
    for keep_steps in (False, True):
        run = await claimed(store)
        await checkpointed(store, run)
        for _ in range(3):
            await store.record_crash([run.id], REASON, NOW, keep_steps=keep_steps)
        assert (await again(store, run)).status == "failed"
        assert len(await store.get_steps(run.id)) == keep_steps


async def a_repeated_report_is_counted_once(store: Store) -> None:
    run = await claimed(store)
    for _ in range(4):
        assert await store.record_crash([run.id], REASON, NOW, call_id="call-1") == []
    assert await store.record_crash([run.id], REASON, NOW, call_id="call-2") == []
    for _ in range(2):
        assert await store.record_crash([run.id], REASON, NOW, call_id="call-3") == [run.id]
    assert await store.get_call("call-3") is not None


async def _died(store: Store, run: Run, ms: int = 0) -> list[str]:
    return await store.record_crash([run.id], REASON, after(ms))
