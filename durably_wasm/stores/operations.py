"""What a transaction reads and writes, as the IndexedDB bridge takes it (`web/worker/bridge/indexeddb.js`).

Names the object stores and indexes of `web/shared/schema.js`. A range of keys that begin with a prefix ends with the
prefix and an empty array, which sorts after every text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from durably_wasm.models import Run
from durably_wasm.payloads import encode
from durably_wasm.stores.rows import Record, progress_key, record_from_run

Operation: TypeAlias = Mapping[str, Any]

CHUNK = 8  # pending runs of a job that are read at a time


def get(store: str, key: str | Sequence[str]) -> Operation:
    """Read a record."""
    return {"op": "get", "store": store, "key": key}


def first(index: str, key: Sequence[str]) -> Operation:
    """Read the run with a key in an index; a list of one or none."""
    return _runs(index, key, [*key, []], limit=1)


def newest_run() -> Operation:
    """Read the newest run; a record or None."""
    return {"op": "last", "store": "runs", "index": "byAge", "lower": None, "upper": None}


def last_log(run_id: str) -> Operation:
    """Read the last log line of a run; a record or None."""
    return {"op": "last", "store": "logs", "index": None, "lower": [run_id], "upper": [run_id, []]}


def leased_runs() -> Operation:
    """Read all leased runs."""
    return _runs("byStatus", ["leased"], ["leased", []])


def oldest_pending(job: str | None, after: Run | None = None) -> Operation:
    """Read the oldest pending runs of a job, or of any, up to `CHUNK`; those after a run where it is given."""
    index, prefix = ("byStatus", ["pending"]) if job is None else ("byStatusAndJob", ["pending", job])
    beyond = [] if after is None else [after.created_at, after.id, ""]  # longer than that run's key, so just after it
    return _runs(index, [*prefix, *beyond], [*prefix, []], limit=CHUNK)


def ended_before(time: str, limit: int) -> Operation:
    """Read the runs that ended before a time, oldest first."""
    return _runs("byEnd", None, [time], limit=limit)


def pending_with_key_of(run: Run) -> Operation:
    """Read the pending run of the same job with the same concurrency key; a list of one or none."""
    return first("byKey", ["pending", run.job_name, run.concurrency_key or ""])


def payloads_of(run_id: str) -> Operation:
    """Read a run's input and, if it has completed, its output."""
    return {"op": "range", "store": "payloads", "index": None, "lower": [run_id], "upper": [run_id, []], "limit": None}


def put(store: str, record: Record) -> Operation:
    """Write a record, in the place of an older one."""
    return {"op": "put", "store": store, "record": record}


def put_payload(run_id: str, kind: str, text: str) -> Operation:
    """Write a run's input or output."""
    return put("payloads", {"runId": run_id, "kind": kind, "text": text})


def new_records(run: Run) -> list[Operation]:
    """Write a new run and its input."""
    return [put("runs", record_from_run(run)), put_payload(run.id, "input", encode(run.input))]


def delete_all_of(store: str, run_id: str) -> Operation:
    """Delete what an object store holds of a run."""
    return {"op": "delete", "store": store, "lower": [run_id], "upper": [run_id, []]}


def delete_run(run_id: str) -> list[Operation]:
    """Delete a run with all that belongs to it."""
    parts = [delete_all_of(store, run_id) for store in ("steps", "logs", "payloads")]
    keys = {"crashes": run_id, "meta": progress_key(run_id), "runs": run_id}
    return [*parts, *({"op": "delete", "store": store, "lower": key, "upper": key} for store, key in keys.items())]


def all_calls() -> Operation:
    """Read what all calls have come to."""
    return {"op": "range", "store": "calls", "index": None, "lower": "", "upper": [], "limit": None}


def delete_call(call_id: str) -> Operation:
    """Delete the outcome of a call."""
    return {"op": "delete", "store": "calls", "lower": call_id, "upper": call_id}


def _runs(index: str, lower: Sequence[Any] | None, upper: Sequence[Any], limit: int | None = None) -> Operation:
    return {"op": "range", "store": "runs", "index": index, "lower": lower, "upper": upper, "limit": limit}
