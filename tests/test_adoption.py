"""What one of the browser's stores holds is moved to the other: all of it, once, whatever fails on the way."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract.given import (
    ALL,
    LATER,
    LEASE_MS,
    NOW,
    after,
    cancelled,
    checkpointed,
    claimed,
    completed,
    contents,
    enqueued,
    failed,
    logged,
    new_run,
    raised,
)
from object_driver import SCHEMA, FakeDatabase, FakeObjectDriver

from durably_wasm.errors import StoreError
from durably_wasm.models import Progress, Run
from durably_wasm.stores import SqliteStore, Store
from durably_wasm.stores.adoption import Adopted, Kind, adopt
from durably_wasm.stores.indexeddb import Decision, IndexedDbStore
from durably_wasm.stores.operations import Operation
from durably_wasm.stores.rows import SqlRow
from durably_wasm.stores.sql_driver import SqlValue, StandardDriver, Statement
from durably_wasm.stores.tables import CHUNK, TABLES
from durably_wasm.stores.transactions import Found

KINDS: Sequence[Kind] = ("indexeddb", "sqlite")
STRANGE = "ä 😀 \u2028 \x00 ' \""


class Site:
    """Both databases of a site, and how a store is opened on each."""

    def __init__(self, folder: Path, into: Kind) -> None:
        self.into = into
        folder.mkdir(exist_ok=True)
        self.path = folder / "runs.db"
        self.database = FakeDatabase()
        self._stores: dict[Kind, Callable[[], Store]] = {
            "indexeddb": lambda: IndexedDbStore(FakeObjectDriver(self.database)),
            "sqlite": lambda: SqliteStore(self.path),
        }

    @asynccontextmanager
    async def old(self) -> AsyncIterator[Store]:
        """The store whose rows are to be moved."""
        async with self._opened("sqlite" if self.into == "indexeddb" else "indexeddb") as store:
            yield store

    @asynccontextmanager
    async def new(self) -> AsyncIterator[Store]:
        """The store that takes them."""
        async with self._opened(self.into) as store:
            yield store

    @asynccontextmanager
    async def _opened(self, kind: Kind) -> AsyncIterator[Store]:
        store = self._stores[kind]()
        await store.migrate()
        try:
            yield store
        finally:
            await store.close()

    def kept(self, *kinds: Kind) -> Callable[[], None]:
        """Return what puts databases back to where they are now, when none is open."""
        contents, file = self.database.contents, self.path.read_bytes() if self.path.exists() else None

        def put_back() -> None:
            if "indexeddb" in kinds:
                self.database.contents = contents
            if "sqlite" in kinds:
                self.path.unlink(missing_ok=True)
                self.path.write_bytes(file or b"")

        return put_back

    async def adopt(self, faults: Faults | None = None) -> Adopted:
        faults = faults or Faults()
        return await adopt(self.into, FaultySqlDriver(self.path, faults), FaultyObjectDriver(self.database, faults))


class Faults:
    """Counts the calls of both drivers, and lets one of them fail."""

    def __init__(self, at: int | None = None, *, applied: bool = False) -> None:
        self.count = 0
        self.rows = 0  # the most that crossed at once
        self._at = at
        self._applied = applied

    def before(self) -> None:
        self.count += 1
        if self.count == self._at and not self._applied:
            raise StoreError("The database refused")

    def between(self) -> None:
        """Called before each transaction of IndexedDB."""

    def after(self) -> None:
        if self.count == self._at and self._applied:
            raise StoreError("The database refused after it had obeyed")


class FaultySqlDriver(StandardDriver):
    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path)
        self._faults = faults

    def run_all(self, statements: Sequence[Statement]) -> list[list[SqlRow]]:
        self._faults.before()
        self._faults.rows = max(self._faults.rows, len(statements))
        rows = [super(FaultySqlDriver, self).run(sql, values) for sql, values in statements]
        self._faults.after()
        return rows

    def run(self, sql: str, values: Mapping[str, SqlValue]) -> list[SqlRow]:
        [rows] = self.run_all([(sql, values)])
        self._faults.rows = max(self._faults.rows, len(rows))
        return rows


class FaultyObjectDriver(FakeObjectDriver):
    def __init__(self, database: FakeDatabase, faults: Faults) -> None:
        super().__init__(database)
        self._faults = faults

    async def transact(self, reads: list[Operation], decide: Callable[[Found], Decision]) -> None:
        self._faults.between()

        def counting(found: Found) -> Decision:
            self._faults.before()
            decision = decide(found)
            for operations in decision.values():
                assert isinstance(operations, list)
                self._faults.rows = max(self._faults.rows, sum(each["op"] == "put" for each in operations))
            self._faults.rows = max(self._faults.rows, *(len(each) for each in found if isinstance(each, list)), 0)
            return decision

        await super().transact(reads, counting)
        self._faults.after()


@pytest.fixture(params=KINDS, ids=lambda into: f"into {into}")
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


async def fill(store: Store) -> None:
    """Put a run of each kind into a store, with all that can belong to one."""
    await enqueued(store, input={"text": STRANGE, "n": [1, 1.0, 10**20, None]}, labels={"10": "b", "2": STRANGE})
    await enqueued(store, idempotency_key="order-1", concurrency_key="shop-1", job_name=STRANGE.replace("\x00", ""))
    busy = await claimed(store, worker_id="lock-7-abc", concurrency_key="shop-1")
    await store.update_progress(busy.id, 1, Progress(1.5, None, STRANGE), NOW)
    for number in range(3):
        await checkpointed(store, busy, name=f"step {number}", index=number, output={"is": STRANGE})
        await logged(store, busy, f"{STRANGE} {number}", level="warn", step_name=f"step {number}", data=[number])
    await checkpointed(store, busy, name="bad", index=3, status="failed", error="boom")
    await store.record_crash([busy.id], "out of memory", NOW)
    ended = await completed(store, output=[STRANGE], idempotency_key="order-2")
    await logged(store, ended, "after the end")
    await failed(store, message=STRANGE)
    await cancelled(store)
    await store.enqueue(new_run(idempotency_key="called"), NOW, call_id="call-1")
    await store.cancel_run("nobody", NOW, call_id="call-2")


async def held(store: Store) -> tuple[list[Any], dict[str, str | None]]:
    """All that a store holds and tells: runs with steps and logs, and outcomes."""
    ids = sorted(await store.get_call_ids())
    return await contents(store), {call_id: await store.get_call(call_id) for call_id in ids}


def unleased(row: tuple[Run, Any, Any]) -> tuple[Run, Any, Any]:
    run, *rest = row
    is_leased = run.status == "leased"
    moved = replace(run, lease_owner=None, lease_expires_at=run.created_at) if is_leased else run
    return moved, *rest


async def is_empty(store: Store) -> bool:
    return await held(store) == ([], {})


async def test_all_rows_are_moved_as_they_are(site: Site) -> None:
    async with site.old() as old:
        await fill(old)
        runs, calls = await held(old)
    adopted = await site.adopt()
    async with site.new() as new, site.old() as old:
        assert await held(new) == ([unleased(row) for row in runs], calls)
        assert await is_empty(old)
    assert adopted == Adopted(runs=7, given_up=[])


async def test_a_moved_run_is_claimed_at_once_whoever_had_it(site: Site) -> None:
    owners = ["lock-7-abc", "lock-1-abc", "worker-1", "notebook"]
    async with site.old() as old:
        runs = [await claimed(old, worker_id=owner, input=owner, now=LATER) for owner in owners]
        await checkpointed(old, runs[0], output="kept")
    await site.adopt()
    async with site.new() as new:
        epoch = await new.advance_epoch()
        again = [await new.claim_next(f"lock-{epoch}-new", LATER, LEASE_MS, epoch=epoch) for _ in owners]
        assert [(run and run.input, run and run.lease_generation) for run in again] == [(owner, 2) for owner in owners]
        assert [step.output for step in await new.get_steps(runs[0].id)] == ["kept"]
        assert not await new.complete_run(runs[0].id, 1, None, LATER), "the generation before was moved with the run"


async def test_a_death_that_was_counted_still_counts(site: Site) -> None:
    async with site.old() as old:
        run = await claimed(old)
        for _ in range(2):
            assert await old.record_crash([run.id], "out of memory", NOW) == []
    await site.adopt()
    async with site.new() as new:
        assert await new.record_crash([run.id], "out of memory", NOW) == [run.id]


async def test_a_call_that_was_applied_is_not_applied_again(site: Site) -> None:
    async with site.old() as old:
        before = await old.enqueue(new_run(), NOW, call_id="call-1")
    await site.adopt()
    async with site.new() as new:
        assert await new.enqueue(new_run(), LATER, call_id="call-1") == before
        assert len(await new.get_runs(ALL)) == 1


async def test_payloads_are_moved_without_being_decoded(site: Site) -> None:
    async with site.old() as old:
        run = await completed(old)
    text = '{"a": 1.0, "a": 1e999, not JSON'
    site.database.contents["payloads"] = {
        key: {**payload, "text": text} for key, payload in site.database.contents["payloads"].items()
    }
    driver = StandardDriver(site.path)
    await driver.open()
    if site.into == "indexeddb":
        driver.run("UPDATE payloads SET value = :text", {"text": text})
    await site.adopt()
    if site.into == "sqlite":
        assert driver.run("SELECT DISTINCT value FROM payloads", {}) == [(text,)]
    else:
        assert {each["text"] for each in site.database.contents["payloads"].values()} == {text}
    driver.close()
    async with site.new() as new:
        await new.delete_run(run.id)
        assert await is_empty(new)


async def test_rows_that_no_run_owns_are_moved_too(site: Site) -> None:
    async with site.old() as old:
        run = await completed(old)
        await old.delete_run(run.id)
        line = await logged(old, run, "too late")
    await site.adopt()
    async with site.new() as new, site.old() as old:
        assert await new.get_logs(run.id) == [line]
        assert await old.get_logs(run.id) == []


@pytest.mark.parametrize("applied", [False, True], ids=["refused", "obeyed"])
async def test_a_fault_at_any_call_leaves_all_rows_and_the_next_move_finishes(site: Site, applied: bool) -> None:
    async with site.old() as old:
        await fill(old)
        runs, calls = await held(old)
    full = [unleased(row) for row in runs], calls
    begin_again = site.kept(*KINDS)
    whole = Faults()
    await site.adopt(whole)
    for at in range(1, whole.count + 1):
        begin_again()
        with suppress(StoreError):
            await site.adopt(Faults(at, applied=applied))
        async with site.new() as new, site.old() as old:
            there = await held(new)
            assert there == full or await is_empty(new), f"call {at}: the new store has a part"
            assert there == full or not await is_empty(old), f"call {at}: the rows are gone"
        adopted = await site.adopt()
        async with site.new() as new, site.old() as old:
            assert await held(new) == full, f"call {at}"
            assert await is_empty(old), f"call {at}"
        assert adopted.given_up == [], f"call {at}"


async def test_all_runs_are_committed_in_one_of_the_stores_at_any_call(site: Site) -> None:
    async with site.old() as old:
        await fill(old)
    counts: set[tuple[int, int]] = set()

    class Watching(Faults):
        def before(self) -> None:
            super().before()
            counts.add((len(site.database.contents["runs"]), _committed_runs(site.path)))

    await site.adopt(Watching())
    assert counts - {(7, 0), (7, 7), (0, 7)} == set()
    assert (7, 7) in counts


def _committed_runs(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database, suppress(sqlite3.OperationalError):  # there is no table yet
        return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])
    return 0


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
async def test_any_number_of_rows_crosses_in_chunks(site: Site, count: int) -> None:
    async with site.old() as old:
        run = await claimed(old)
        for number in range(count):
            await checkpointed(old, run, name=f"{number % 7}-{number}", index=number)
            await logged(old, run, str(number))
        await old.enqueue_many([new_run(input=number) for number in range(count)], after(1))
        runs, _ = await held(old)
    faults = Faults()
    assert (await site.adopt(faults)).runs == count + 1
    assert faults.rows <= 2 * CHUNK
    async with site.new() as new, site.old() as old:
        assert (await held(new))[0] == [unleased(row) for row in runs]
        assert await is_empty(old)


class TestBothStores:
    async def test_hold_runs_and_the_new_one_holds_all_then(self, site: Site) -> None:
        async with site.old() as old, site.new() as new:
            await fill(old)
            own = await completed(new, output="own", now=after(5))
            await new.enqueue(new_run(), NOW, call_id="call-9")
            runs, calls = await held(old)
            mine, more = await held(new)
        await site.adopt()
        async with site.new() as new:
            there, outcomes = await held(new)
            assert sorted(run.id for run, *_ in there) == sorted(run.id for run, *_ in [*runs, *mine])
            assert outcomes == calls | more
            assert own in [run for run, *_ in there]

    async def test_hold_a_run_and_the_new_ones_goes_on(self, site: Site) -> None:
        """As after a death between the new store's commit and the emptying of the old one."""
        async with site.old() as old:
            run = await claimed(old)
            await checkpointed(old, run, name="early")
            await logged(old, run, "old")
            await old.enqueue(new_run(idempotency_key="k", concurrency_key="c"), NOW)
        put_back_the_old_one = site.kept("indexeddb" if site.into == "sqlite" else "sqlite")
        await site.adopt()
        async with site.new() as new:
            resumed = await new.claim_next("worker-2", LATER, LEASE_MS)
            assert resumed is not None and resumed.id == run.id
            assert await new.complete_run(run.id, 2, "done", LATER)
            there = await held(new)
        put_back_the_old_one()
        assert await site.adopt() == Adopted(runs=0, given_up=[])
        async with site.new() as new, site.old() as old:
            assert await held(new) == there, "steps that were deleted with the run's end must not come back"
            assert await is_empty(old)

    async def test_hold_an_idempotency_key_and_the_moved_run_gives_it_up(self, site: Site) -> None:
        async with site.old() as old, site.new() as new:
            moved = await completed(old, idempotency_key="order-1", concurrency_key="c")
            other = await enqueued(old, idempotency_key="order-2")
            another_job = await enqueued(old, idempotency_key="order-1", job_name="export")
            holder = await enqueued(new, idempotency_key="order-1")
        adopted = await site.adopt()
        assert adopted.runs == 3
        [words] = adopted.given_up
        assert moved.id in words and "'order-1'" in words and "idempotencyKey" in words
        async with site.new() as new:
            runs = {run.id: run for run in await new.get_runs(ALL)}
            assert runs == {
                moved.id: replace(moved, idempotency_key=None),
                **{run.id: run for run in (other, another_job, holder)},
            }
            assert (await new.enqueue(new_run(idempotency_key="order-1"), LATER)).run.id == holder.id

    @pytest.mark.parametrize("is_leased", [False, True], ids=["pending", "leased"])
    async def test_hold_a_concurrency_key_and_the_moved_run_gives_it_up(self, site: Site, is_leased: bool) -> None:
        begin = claimed if is_leased else enqueued
        async with site.old() as old, site.new() as new:
            moved = await begin(old, concurrency_key="shop-1")
            free = await begin(old, concurrency_key="shop-2")
            ended = await cancelled(old, concurrency_key="shop-1", job_name="ended")
            holder = await begin(new, concurrency_key="shop-1")
        adopted = await site.adopt()
        [words] = adopted.given_up
        assert moved.id in words and "'shop-1'" in words and "concurrencyKey" in words
        async with site.new() as new:
            keys = {run.id: run.concurrency_key for run in await new.get_runs(ALL)}
        assert keys == {moved.id: None, free.id: "shop-2", ended.id: "shop-1", holder.id: "shop-1"}

    async def test_hold_a_concurrency_key_in_different_places_and_both_keep_it(self, site: Site) -> None:
        async with site.old() as old, site.new() as new:
            pending = await enqueued(old, concurrency_key="shop-1")
            leased = await claimed(new, concurrency_key="shop-1")
        assert (await site.adopt()).given_up == []
        async with site.new() as new:
            keys = {run.id: run.concurrency_key for run in await new.get_runs(ALL)}
        assert keys == {pending.id: "shop-1", leased.id: "shop-1"}


async def test_keys_that_sqlite_cannot_tell_apart_do_not_stop_a_move_into_it(tmp_path: Path) -> None:
    site = Site(tmp_path, "sqlite")
    async with site.old() as old:
        runs = [await enqueued(old, idempotency_key=key) for key in ("file-\udcff", "file-\\udcff")]
    adopted = await site.adopt()
    assert (adopted.runs, len(adopted.given_up)) == (2, 1)
    async with site.new() as new:
        assert sorted(run.id for run in await new.get_runs(ALL)) == sorted(run.id for run in runs)


async def test_the_epoch_stays_with_its_store(site: Site) -> None:
    async with site.old() as old, site.new() as new:
        await fill(old)
        for _ in range(40):
            await old.advance_epoch()
        assert await new.advance_epoch() == 1
    await site.adopt()
    async with site.old() as old, site.new() as new:
        assert await old.advance_epoch() >= 41
        assert await new.advance_epoch() <= 3


@pytest.mark.parametrize("into", KINDS)
async def test_a_suspended_engine_on_indexeddb_writes_nothing_more(tmp_path: Path, into: Kind) -> None:
    site = Site(tmp_path, into)
    suspended = IndexedDbStore(FakeObjectDriver(site.database))
    await suspended.migrate()
    await suspended.advance_epoch()
    async with site.old() as old:
        await (suspended if into == "sqlite" else old).enqueue(new_run(), NOW)
    await site.adopt()
    assert (await raised(StoreError, suspended.enqueue(new_run(), NOW))).is_final


async def test_an_engine_that_takes_indexeddb_in_the_middle_of_a_move_into_it_wins(tmp_path: Path) -> None:
    site = Site(tmp_path, "indexeddb")
    async with site.old() as old:
        await fill(old)
        before = await held(old)

    class Thief(Faults):
        def between(self) -> None:
            for meta in site.database.contents["meta"].values():
                meta["value"] = 9  # type: ignore[index]

    assert (await raised(StoreError, site.adopt(Thief()))).is_final
    async with site.old() as old, site.new() as new:
        assert await is_empty(new)
        assert await held(old) == before


async def test_a_database_of_a_newer_version_is_left_as_it_is(site: Site) -> None:
    async with site.old() as old, site.new() as new:
        await fill(old)
        before = [await held(store) for store in (old, new)]
    driver = StandardDriver(site.path)
    await driver.open()
    driver.run("PRAGMA user_version = 7", {})
    error = await raised(StoreError, site.adopt())
    assert "version 7" in str(error)
    driver.run("PRAGMA user_version = 1", {})
    driver.close()
    async with site.old() as old, site.new() as new:
        assert [await held(store) for store in (old, new)] == before


async def test_every_column_of_both_databases_is_moved() -> None:
    schema = StandardDriver(":memory:")
    store = SqliteStore(schema)
    await store.migrate()
    names = {str(name) for [name] in schema.run("SELECT name FROM sqlite_master WHERE type = 'table'", {})}
    assert {table.name for table in TABLES} == names - {"meta"} == set(SCHEMA) - {"meta"}
    for table in TABLES:
        columns = schema.run(f"SELECT name, pk FROM pragma_table_info('{table.name}') ORDER BY cid", {})
        assert list(table.columns) == [name for name, _ in columns]
        assert set(table.key) == {name for name, position in columns if position}
        path = SCHEMA[table.name].key_path
        fields = [table.field(column) for column in table.path]
        assert path == (fields if table.is_array else fields[0])
    await store.close()
