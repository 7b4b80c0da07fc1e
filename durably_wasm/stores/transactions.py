"""The transactions of `IndexedDbStore`, as generators.

A transaction yields what it wants to read and is sent what was found, as often as it needs, and returns what to write
beside its result. The driver runs it inside one IndexedDB transaction, without a turn of the event loop between a
read and what follows from it. What may happen is decided in `durably_wasm.transitions`; the object stores and their
indexes are in `web/shared/schema.js`, which the page loads too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from durably_wasm import transitions
from durably_wasm.ids import Ulids
from durably_wasm.models import EnqueueResult, Log, NewLog, NewRun, NewStep, Run, Step
from durably_wasm.payloads import decode, encode
from durably_wasm.stores.ages import Ages
from durably_wasm.stores.calls import Outcome
from durably_wasm.stores.epochs import check_epoch
from durably_wasm.stores.operations import (
    CHUNK,
    Operation,
    all_calls,
    delete_all_of,
    delete_run,
    ended_before,
    first,
    get,
    last_log,
    leased_runs,
    new_records,
    newest_run,
    oldest_pending,
    payloads_of,
    pending_with_key_of,
    put,
)
from durably_wasm.stores.rows import (
    Record,
    crash_from_record,
    log_from_record,
    progress_from_number,
    progress_key,
    progress_to_number,
    record_from_crash,
    record_from_log,
    record_from_run,
    record_from_step,
    run_from_record,
    step_from_record,
    with_payloads,
)

T = TypeVar("T")
Found: TypeAlias = list[Any]  # for each read, a record or None, or a list of records
Transaction: TypeAlias = Generator[list[Operation], Found, tuple[list[Operation], T]]


def once(transaction: Transaction[T], call_id: str | None, outcome: Outcome[T]) -> Transaction[T]:
    """Read whether the call was applied before: then its outcome is given again, and nothing is written."""
    if call_id is None:
        return (yield from transaction)
    [known, *found] = yield [get("calls", call_id), *next(transaction)]
    if known is not None:
        transaction.close()
        return [], outcome.read(known["outcome"])
    while True:
        try:
            reads = transaction.send(found)
        except StopIteration as end:
            writes, result = end.value
            return [*writes, put("calls", {"id": call_id, "outcome": outcome.write(result)})], result
        found = yield reads


def outcome_of(call_id: str) -> Transaction[str | None]:
    """Read what a call has come to."""
    [known] = yield [get("calls", call_id)]
    return [], known and known["outcome"]


def call_ids() -> Transaction[list[str]]:
    """Read the ids of the calls whose outcomes are kept."""
    [records] = yield [all_calls()]
    return [], [record["id"] for record in records]


def fenced(transaction: Transaction[T], epoch: int) -> Transaction[T]:
    """Read the store's epoch along with a transaction's first reads, and refuse when it is not the caller's."""
    [meta, *found] = yield [get("meta", "epoch"), *next(transaction)]
    check_epoch(epoch, meta and meta["value"])
    while True:
        try:
            reads = transaction.send(found)
        except StopIteration as end:
            writes, result = end.value
            return writes, result
        found = yield reads


def advance_epoch() -> Transaction[int]:
    """Count the epoch up."""
    [meta] = yield [get("meta", "epoch")]
    epoch = 1 if meta is None else meta["value"] + 1
    return [put("meta", {"key": "epoch", "value": epoch})], epoch


def write(writes: list[Operation]) -> Transaction[None]:
    """Write without a look."""
    yield []
    return writes, None


def change(run_id: str, transition: Callable[[Run | None], Run | None], also: Sequence[Operation]) -> Transaction[bool]:
    """Apply a transition to a run and, unless it is refused, write what goes with it."""
    [record] = yield [get("runs", run_id)]
    run = transition(_row(record))
    return ([], False) if run is None else ([put("runs", record_from_run(run)), *also], True)


def crash(runs: Mapping[str, Sequence[Operation]], reason: str, now: str) -> Transaction[list[str]]:
    """Count a death of Python against runs; each comes with what goes with its end."""
    found = yield [get(store, run_id) for run_id in runs for store in ("runs", "crashes")]
    writes: list[Operation] = []
    failed = []
    for run_id, run, earlier in zip(runs, found[::2], found[1::2], strict=True):
        counted = transitions.crash(_row(run), earlier and crash_from_record(earlier), reason, now)
        if counted is None:
            continue
        writes.append(put("crashes", record_from_crash(counted[1])))
        if counted[0].status == "failed":
            writes += [put("runs", record_from_run(counted[0])), *runs[run_id]]
            failed.append(run_id)
    return writes, failed


def id_by_idempotency_key(job_name: str, key: str) -> Transaction[str | None]:
    """Read the id of the run of a job with a key."""
    [found] = yield [first("byIdempotencyKey", [job_name, key])]
    return [], found[0]["id"] if found else None


def create_log(log: NewLog, ids: Ulids) -> Transaction[Log]:
    """Write a log line after the run's last one."""
    [last] = yield [last_log(log.run_id)]
    created_at, log_id = transitions.follow(_age(last), ids, log.created_at)
    record = record_from_log(
        Log(
            id=log_id,
            run_id=log.run_id,
            step_name=log.step_name,
            level=log.level,
            message=log.message,
            data=log.data,
            created_at=created_at,
        )
    )
    return [put("logs", record)], log_from_record(record)


def enqueue(new_runs: Sequence[NewRun], now: str, ages: Ages, *, in_order: bool) -> Transaction[list[EnqueueResult]]:
    """Enqueue runs one after another, so that a later one meets the keys of an earlier one."""
    keys = [key for new in new_runs for key in _keys_of(new)]
    reads_newest = in_order and ages.newest is None
    [*found] = yield [*(first(index, key) for index, key in keys), *([newest_run()] if reads_newest else [])]
    if reads_newest:
        ages.newest = _age(found.pop())
    known = {(index, *key): _known(runs[0]) for (index, key), runs in zip(keys, found, strict=True) if runs}
    results = []
    for new in new_runs:
        created_at, run_id = ages.next(now, in_order=in_order)
        earlier = {index: known.get((index, *key)) for index, key in _keys_of(new)}
        result = transitions.enqueue(
            new, run_id, created_at, same_key=earlier.get("byIdempotencyKey"), pending=earlier.get("byKey")
        )
        results.append(result)
        if result.disposition == "created":
            known |= {(index, *key): result.run for index, key in _keys_of(new)}
    created = {result.run.id: result.run for result in results if result.disposition == "created"}
    payloads = yield [payloads_of(result.run.id) for result in results if result.run.id not in created]
    texts = iter(payloads)
    return [write for run in created.values() for write in new_records(run)], [
        replace(
            result,
            run=_own(result.run) if result.run.id in created else _with_payloads(result.run, next(texts)),
        )
        for result in results
    ]


def claim(
    worker_id: str,
    now: str,
    expires_at: str,
    *,
    jobs: Collection[str] | None,
    exclude: Collection[str],
    epoch: int | None,
    max_claims_without_progress: int | None,
    keep_steps: bool,
) -> Transaction[Run | None]:
    """Read the leased runs and the oldest pending ones of each job, and further ones where all those are blocked.

    So the cost grows neither with the backlog of other jobs nor with the history.
    """
    queues: dict[str | None, list[Run]] = {job: [] for job in ([None] if jobs is None else jobs)}
    [records, *chunks] = yield [leased_runs(), *(oldest_pending(job) for job in queues)]
    leased = [_known(record) for record in records]
    held = transitions.held_keys(leased)
    unread = list(queues)
    while True:
        for job, chunk in zip(unread, chunks, strict=True):
            queues[job] = [_known(record) for record in chunk]
        unread = [
            job
            for job, runs in queues.items()
            if len(runs) == CHUNK and not any(transitions.is_free(run, held, exclude) for run in runs)
        ]
        if not unread:
            break
        chunks = yield [oldest_pending(job, after=queues[job][-1]) for job in unread]
    pending = sorted((run for runs in queues.values() for run in runs), key=transitions.age)
    run = transitions.next_claim(leased, pending, now, jobs=jobs, exclude=exclude, epoch=epoch)
    if run is None:
        return [], None
    claimed = transitions.claim(run, worker_id, now, expires_at)
    if max_claims_without_progress is None or claimed.lease_generation == 1:
        [payloads] = yield [payloads_of(run.id)]
        return [put("runs", record_from_run(claimed))], _with_payloads(claimed, payloads)
    [payloads, known] = yield [payloads_of(run.id), get("meta", progress_key(run.id))]
    claimed, writes = _fail_without_progress(claimed, known, max_claims_without_progress, now, keep_steps)
    return writes, _with_payloads(claimed, payloads)


def _fail_without_progress(
    claimed: Run, known: Record | None, most: int, now: str, keep_steps: bool
) -> tuple[Run, list[Operation]]:
    generation = claimed.lease_generation
    earlier = None if known is None else progress_from_number(claimed.id, known["value"])
    last = transitions.last_progress(claimed.id, generation, claimed.completed_step_count, earlier)
    error = transitions.no_progress(generation, last, most)
    run = (error and transitions.fail(claimed, generation, error, now)) or claimed
    steps = [] if error is None or keep_steps else [delete_all_of("steps", run.id)]
    return run, [
        put("runs", record_from_run(run)),
        put("meta", {"key": progress_key(run.id), "value": progress_to_number(last)}),
        *steps,
    ]


def release(run_id: str, generation: int, now: str) -> Transaction[bool]:
    """Give a run back."""
    [record] = yield [get("runs", run_id)]
    run = _row(record)
    pending = [] if run is None else (yield [pending_with_key_of(run)])[0]
    released = transitions.release(run, generation, now, key_is_pending=bool(pending))
    return ([], False) if released is None else ([put("runs", record_from_run(released))], True)


def release_expired(now: str) -> Transaction[int]:
    """Put the runs whose lease has expired back to pending."""
    [records] = yield [leased_runs()]
    leased = [_known(record) for record in records]
    found = yield [pending_with_key_of(run) for run in leased]
    released = [
        expired
        for run, pending in zip(leased, found, strict=True)
        if (expired := transitions.expire(run, now, key_is_pending=bool(pending)))
    ]
    return [put("runs", record_from_run(run)) for run in released], len(released)


def persist_step(
    run_id: str, generation: int, step: NewStep, step_id: str, now: str, expires_at: str
) -> Transaction[Step | None]:
    """Checkpoint a step: the run's row and the step's are read, and the same two written."""
    run, stored = yield [get("runs", run_id), get("steps", [run_id, step.name])]
    outcome = transitions.persist_step(
        _row(run), stored and step_from_record(stored), generation, step, step_id, now, expires_at
    )
    if outcome is None:
        return [], None
    changed, persisted = outcome
    record = record_from_step(persisted)
    return [put("runs", record_from_run(changed)), put("steps", record)], step_from_record(record)


def purge(older_than: str, limit: int) -> Transaction[int]:
    """Delete ended runs, oldest first."""
    if limit < 1:
        yield []
        return [], 0
    [ended] = yield [ended_before(older_than, limit)]
    return [write for record in ended for write in delete_run(record["id"])], len(ended)


def _keys_of(new: NewRun) -> list[tuple[str, list[str]]]:
    """Return the indexes and keys by which an earlier run may stand in the way."""
    keys = []
    if new.idempotency_key is not None:
        keys.append(("byIdempotencyKey", [new.job_name, new.idempotency_key]))
    if new.concurrency_key is not None:
        keys.append(("byKey", ["pending", new.job_name, new.concurrency_key]))
    return keys


def _age(record: Record | None) -> tuple[str, str] | None:
    return None if record is None else (record["createdAt"], record["id"])


def _row(record: Record | None) -> Run | None:
    return None if record is None else _known(record)


def _known(record: Record) -> Run:
    """Read a run without its payloads."""
    return run_from_record(record)


def run_with_payloads(record: Record) -> Run:
    """Read a run as the named queries give it, with its payloads' text."""
    return run_from_record(record, record["input"], record["output"])


def _with_payloads(run: Run, payloads: Sequence[Record]) -> Run:
    texts = {payload["kind"]: payload["text"] for payload in payloads}
    return with_payloads(run, texts.get("input"), texts.get("output"))


def _own(run: Run) -> Run:
    return replace(run, input=decode(encode(run.input)))
