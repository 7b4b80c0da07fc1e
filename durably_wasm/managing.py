"""What is done to runs that are there: looking them up, deleting, purging; and each call of a page only once."""

from __future__ import annotations

from datetime import datetime

from durably_wasm.environment import Environment
from durably_wasm.errors import ConflictError, NotFoundError, ValidationError
from durably_wasm.events import RunDelete
from durably_wasm.models import TERMINAL, Run, to_iso
from durably_wasm.stores.calls import TOO_LATE


async def existing(environment: Environment, run_id: str) -> Run:
    """Return a run.

    Raises:
        NotFoundError: There is none.
    """
    if run := await environment.store.get_run(run_id):
        return run
    raise NotFoundError(f"No run has the id {run_id}")


async def outcome_of(environment: Environment, call_id: str | None) -> str | None:
    """Return what a call has come to, as `stores.calls` writes it, if it was applied before: it is not told again.

    None, too, for one that was refused then: it is refused again, in the words of now.
    """
    outcome = None if call_id is None else await environment.store.get_call(call_id)
    return None if outcome == TOO_LATE else outcome


async def delete_run(environment: Environment, run_id: str, call_id: str | None) -> None:
    """Delete an ended run and tell of it; see `Durably.delete_run`."""
    if await outcome_of(environment, call_id):
        return
    run = await existing(environment, run_id)
    if run.status not in TERMINAL:
        raise ConflictError(f"Cannot delete run {run_id}: it is {run.status}")
    await environment.store.delete_run(run_id, call_id=call_id)
    environment.emitter.emit(RunDelete(run_id=run_id, job_name=run.job_name, labels=dict(run.labels)))


async def purge_runs(environment: Environment, older_than: datetime, limit: int, call_id: str | None) -> int:
    """Delete runs that ended before a time; see `Durably.purge_runs`."""
    if not isinstance(older_than, datetime) or older_than.tzinfo is None:
        raise ValidationError(f"older_than must be a datetime with a time zone, not {older_than!r}")
    if type(limit) is not int or limit < 0:
        raise ValidationError(f"limit must be an integer of at least 0, not {limit!r}")
    try:
        time = to_iso(older_than)
    except OverflowError:  # before or after all times that UTC can tell
        return 0
    return await environment.store.purge_runs(time, limit, call_id=call_id)
