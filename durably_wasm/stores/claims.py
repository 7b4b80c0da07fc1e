"""How a SQLite database claims a run, inside a transaction of the store; the decisions are those of `transitions`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from durably_wasm import transitions
from durably_wasm.models import RunError
from durably_wasm.payloads import encode
from durably_wasm.stores.rows import SqlRow, claim_of_row, progress_from_number, progress_key, progress_to_number
from durably_wasm.stores.statements import Statements


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim writes: the lease, or, without progress, the run's end."""

    worker_id: str
    now: str
    expires_at: str
    most: int | None
    keep_steps: bool


def claim_next(
    statements: Statements,
    claim: Claim,
    *,
    jobs: Collection[str] | None,
    exclude: Collection[str],
    epoch: int | None,
) -> SqlRow | None:
    """Claim the oldest run that is due, and return its row; see `Store.claim_next`."""
    chosen = {"now": claim.now, "exclude": encode(list(exclude)), "epoch": epoch}
    if jobs is None:
        due = statements.run("due_of_any_job", **chosen)
    else:
        due = statements.run("due_of_jobs", **chosen, jobs=encode(list(jobs)))
    if not due:
        return None
    [claimed] = statements.run(
        "claim", id=due[0][0], worker_id=claim.worker_id, now=claim.now, expires_at=claim.expires_at
    )
    if claim.most is None or not _fails_without_progress(statements, claimed, claim, claim.most):
        return claimed
    [failed] = statements.run("run", id=claimed[0])
    return failed


def fail(statements: Statements, run_id: str, generation: int, error: RunError, now: str) -> bool:
    """Write that a run has failed; False when it is not leased under this generation."""
    failed = statements.run(
        "fail",
        id=run_id,
        generation=generation,
        now=now,
        error=error.message,
        error_type=error.type,
        error_traceback=error.traceback,
    )
    return bool(failed)


def _fails_without_progress(statements: Statements, claimed: SqlRow, claim: Claim, most: int) -> bool:
    run_id = str(claimed[0])
    generation, steps = claim_of_row(claimed)
    if generation == 1:  # so a first claim costs no statement more
        return False
    key = progress_key(run_id)
    rows = statements.run("progress", key=key)
    known = progress_from_number(run_id, rows[0][0]) if rows else None
    last = transitions.last_progress(run_id, generation, steps, known)
    if last != known:
        statements.later("put_progress", key=key, value=progress_to_number(last))
    error = transitions.no_progress(generation, last, most)
    if error is None:
        return False
    if not claim.keep_steps:
        statements.later("delete_steps", run_id=run_id)
    return fail(statements, run_id, generation, error, claim.now)
