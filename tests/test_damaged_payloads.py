"""A run whose stored payloads are damaged is shown with their text, fails once, and stands in no other run's way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import AtOnce, Engine
from object_driver import FakeDatabase, FakeObjectDriver, key_of

from durably_wasm import StepContext, ValidationError, define_job
from durably_wasm.stores import SqliteStore, Store
from durably_wasm.stores.indexeddb import IndexedDbStore

Damage = Callable[[str, str | None], None]

TEXTS = ["{", "", "[1", "nul", "[" * 100_000, None]


@define_job("job")
async def job(step: StepContext, input: int) -> int:
    return await step.run("work", int, input)


@pytest.fixture(params=["sqlite", "indexeddb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Damage]:
    """A store, and what damages the input of one of its runs; None: it is missing."""
    path, database = tmp_path / "runs.db", FakeDatabase()

    def damage_file(run_id: str, text: str | None) -> None:
        with sqlite3.connect(path) as connection:
            change = "DELETE FROM payloads" if text is None else "UPDATE payloads SET value = :text"
            connection.execute(f"{change} WHERE run_id = :id", {"id": run_id, "text": text})
        connection.close()

    def damage_records(run_id: str, text: str | None) -> None:
        payloads = database.contents["payloads"]
        if text is None:
            del payloads[key_of([run_id, "input"])]
        else:
            payloads[key_of([run_id, "input"])] = {"runId": run_id, "kind": "input", "text": text}

    if request.param == "sqlite":
        return SqliteStore(path), damage_file
    return IndexedDbStore(FakeObjectDriver(database)), damage_records


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text)[:8])
async def test_is_listed_fails_and_stops_nobody(
    engine: Engine, at_once: AtOnce, store: tuple[Any, Damage], text: str | None
) -> None:
    opened, damage = store
    durably = engine(job, store=opened)
    await durably.migrate()
    handle = durably.jobs.job
    damaged = await handle.trigger(1, idempotency_key="k")
    sound = await handle.trigger(2)
    damage(damaged.id, text)
    for runs in (await handle.get_runs(), await durably.get_runs()):
        assert [run.id for run in runs] == [sound.id, damaged.id]
        assert (runs[0].input, runs[0].decode_error) == (2, None)
        assert runs[1].input == text
        assert runs[1].decode_error is not None and "no JSON" in runs[1].decode_error
    hit = await handle.trigger(1, idempotency_key="k")
    assert (hit.id, hit.disposition, hit.input) == (damaged.id, "idempotent", text)
    assert await at_once(durably.process_until_idle()) == 2
    failed, completed = await durably.get_run(damaged.id), await durably.get_run(sound.id)
    assert failed is not None and (failed.status, failed.lease_generation) == ("failed", 1)
    assert failed.error is not None and failed.error.startswith("Invalid input: ")
    assert completed is not None and (completed.status, completed.output) == ("completed", 2)
    with pytest.raises(ValidationError, match="Cannot retrigger"):
        await durably.retrigger(damaged.id)
    await opened.close()
