"""How an engine is made: its options, each with its default and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from durably_wasm.clock import Clock, SystemClock
from durably_wasm.durably import Durably
from durably_wasm.job import JobDefinition
from durably_wasm.options import Options, Retention
from durably_wasm.stores import Store


def create_durably(
    store: Store,
    *,
    jobs: Mapping[str, JobDefinition[Any, Any]] | None = None,
    polling_interval_ms: int = 1000,
    max_concurrent_runs: int = 1,
    lease_ms: int = 30_000,
    lease_renew_interval_ms: int = 5_000,
    preserve_steps: bool = False,
    retain_runs: Retention = None,
    max_claims_without_progress: int | None = 20,
    labels: Any = None,
    clock: Clock | None = None,
    exclusive: bool = False,
) -> Durably:
    """Make an engine over a store.

        async with create_durably(SqliteStore("app.db"), jobs={"import_csv": import_csv}) as durably:
            run = await durably.jobs.import_csv.trigger(ImportInput(filename="data.csv"))

    Args:
        store: Where runs and steps live.
        jobs: The jobs to register, by the key to find them under.
        polling_interval_ms: How often an idle worker looks for what another process has stored.
        max_concurrent_runs: How many runs are executed at the same time, 1 to 1000.
        lease_ms: How long a run stays this worker's without a sign of life.
        lease_renew_interval_ms: How often the lease of a run in execution is extended.
        preserve_steps: Keep the steps of ended runs.
        retain_runs: How long ended runs are kept, ``"30d"``, ``"24h"``, ``"60m"`` or a timedelta; None: for ever.
        max_claims_without_progress: How often a run is claimed without completing a step in between, before it fails as
            ``NoProgress``; None: for ever. Every claim counts, however its lease ended.
        labels: The type that the labels of every run must validate into, a TypedDict or a model.
        clock: Where the time comes from; None: the machine's.
        exclusive: The caller holds the database's lock, so the leases of all earlier holders are void.

    Raises:
        ValidationError: An option is wrong; the message names it.
    """
    options = Options(
        polling_interval_ms=polling_interval_ms,
        max_concurrent_runs=max_concurrent_runs,
        lease_ms=lease_ms,
        lease_renew_interval_ms=lease_renew_interval_ms,
        preserve_steps=preserve_steps,
        retain_runs=retain_runs,
        max_claims_without_progress=max_claims_without_progress,
        exclusive=exclusive,
    )
    durably = Durably(store, clock or SystemClock(), options, labels)
    return durably.register(jobs or {})
