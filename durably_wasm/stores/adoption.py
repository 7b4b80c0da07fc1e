"""The move of all that one of the browser's two stores holds into the other; to be made under the database's lock.

Rule 1: The new store takes all rows in one transaction, and the old store is emptied only after that has been
committed. A death in between leaves all rows in the old store, where the next move finds them.
Rule 2: Where both stores hold a run, the new store's is kept, with all that belongs to it: a move that begins again
writes nothing twice.
Rule 3: Where a run of the new store holds the key of another one that is moved, the moved run gives its key up: an
idempotency key has one run, and so has a concurrency key among the pending runs of a job, and among all leased runs.
Rule 4: The leases of the moved runs are over, since their engine has ended: the lock proves it.
Rule 5: The epoch stays with its store. IndexedDB's is counted up first, so that a suspended engine, from which the lock
was taken, writes nothing there any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from durably_wasm.stores.indexeddb import IndexedDbStore, ObjectDriver, run_transaction
from durably_wasm.stores.operations import Operation, first, get, leased_runs, put
from durably_wasm.stores.rows import Record
from durably_wasm.stores.sql_driver import SqlDriver
from durably_wasm.stores.sqlite import SqliteStore
from durably_wasm.stores.statements import Statements
from durably_wasm.stores.tables import CHUNK, RUNS, TABLES, Table
from durably_wasm.stores.transactions import Found, Transaction, fenced

Kind: TypeAlias = Literal["indexeddb", "sqlite"]

_RUN_BY_KEY = "SELECT 1 FROM runs WHERE job_name = :job AND idempotency_key = :key"
_RUN_BY_PLACE = {  # what holds a concurrency key, by the status of a run that has it too
    "pending": "SELECT 1 FROM runs WHERE status = 'pending' AND job_name = :job AND concurrency_key = :key",
    "leased": "SELECT 1 FROM runs WHERE status = 'leased' AND concurrency_key = :key",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopted:
    """The result of a move: the number of runs that it moved, and a sentence for each key that one of them gave up."""

    runs: int
    given_up: Sequence[str]


async def adopt(into: Kind, sql: SqlDriver, objects: ObjectDriver) -> Adopted:
    """Move all rows into one store, empty the other one, and close both.

    Raises:
        StoreError: One of the databases refused, or was written by a newer version. All rows are where they were, or,
            where emptying the old store was refused, in both.
    """
    try:
        await SqliteStore(sql).migrate()
        indexeddb = IndexedDbStore(objects)
        await indexeddb.migrate()
        epoch = await indexeddb.advance_epoch()
        move = _Move()
        if into == "sqlite":
            await _fill_sqlite(sql, objects, move)
            await run_transaction(objects, fenced(_emptied(), epoch))
        else:
            await run_transaction(objects, fenced(_filled(sql, move), epoch))
            _empty_sqlite(sql)
        return Adopted(runs=move.runs, given_up=move.given_up)
    finally:
        await objects.close()
        sql.close()


class _Move:
    """Which rows the new store takes, and how: rules 2 to 4."""

    def __init__(self) -> None:
        self.runs = 0
        self.given_up: list[str] = []
        self._kept: set[str] = set()  # the runs that the new store has already

    def belonging(self, table: Table, records: Sequence[Record]) -> list[Record]:
        """Return the records but those that belong to a run which the new store has already."""
        return [record for record in records if table.owner_of(record) not in self._kept]

    def new(self, table: Table, records: Sequence[Record], known: Sequence[bool]) -> list[Record]:
        """Return the records but those which the new store has already."""
        if table is RUNS:
            self._kept |= {record["id"] for record, is_known in zip(records, known, strict=True) if is_known}
        return [record for record, is_known in zip(records, known, strict=True) if not is_known]

    def fitted(self, record: Record, *, is_key_held: bool, is_place_held: bool) -> Record:
        """Return a run as the new store takes it."""
        self.runs += 1
        run = dict(record)
        if run["status"] == "leased":
            run |= {"leaseOwner": None, "leaseExpiresAt": run["createdAt"]}
        for name, is_held in (("idempotencyKey", is_key_held), ("concurrencyKey", is_place_held)):
            if is_held:
                self.given_up.append(f"run {run['id']} gave up its {name} {run[name]!r}, which another run holds")
                run[name] = None
        return run


async def _fill_sqlite(sql: SqlDriver, objects: ObjectDriver, move: _Move) -> None:
    statements = Statements(sql)
    with statements.transaction(fenced=False):
        for table in TABLES:
            async for records in _chunks_of_indexeddb(objects, table):
                mine = move.belonging(table, records)
                known = statements.execute_all([table.known(record) for record in mine])
                new = move.new(table, mine, [bool(rows) for rows in known])
                if table is RUNS:
                    for record in new:
                        statements.execute_all([table.insertion(_fitted_to_sqlite(statements, move, record))])
                else:
                    statements.execute_all([table.insertion(record) for record in new])


def _fitted_to_sqlite(statements: Statements, move: _Move, record: Record) -> Record:
    job, key, place = record["jobName"], record["idempotencyKey"], record["concurrencyKey"]
    by_place = _RUN_BY_PLACE.get(record["status"])
    is_key_held = key is not None and statements.execute(_RUN_BY_KEY, {"job": job, "key": key})
    is_place_held = place is not None and by_place and statements.execute(by_place, {"job": job, "key": place})
    return move.fitted(record, is_key_held=bool(is_key_held), is_place_held=bool(is_place_held))


async def _chunks_of_indexeddb(objects: ObjectDriver, table: Table) -> AsyncIterator[list[Record]]:
    records: list[Record] = []
    while not records or len(records) == CHUNK:
        records = await run_transaction(objects, _chunk(table, records[-1] if records else None))
        if not records:
            return
        yield records


def _chunk(table: Table, after: Record | None) -> Transaction[list[Record]]:
    [records] = yield [table.next_records(after)]
    return [], records


def _emptied() -> Transaction[None]:
    yield []
    return [table.deletion() for table in TABLES], None


def _filled(sql: SqlDriver, move: _Move) -> Transaction[None]:
    """Read SQLite between the operations of one transaction of IndexedDB: that takes no turn of the event loop."""
    [leased] = yield [leased_runs()]
    held = {run["concurrencyKey"] for run in leased} - {None}
    writes: list[Operation] = []
    for table in TABLES:
        for records in _chunks_of_sqlite(sql, table):
            mine = move.belonging(table, records)
            found = yield [*writes, *(get(table.name, table.key_of(record)) for record in mine)]
            new = move.new(table, mine, [record is not None for record in found[len(writes) :]])
            if table is RUNS:
                new = yield from _fitted_to_indexeddb(move, new, held)
            writes = [put(table.name, record) for record in new]
    return writes, None


def _fitted_to_indexeddb(
    move: _Move, records: Sequence[Record], leased: Collection[str]
) -> Generator[list[Operation], Found, list[Record]]:
    found = yield [
        question
        for record in records
        for question in (
            first("byIdempotencyKey", [record["jobName"], record["idempotencyKey"] or ""]),
            first("byKey", ["pending", record["jobName"], record["concurrencyKey"] or ""]),
        )
    ]
    fitted = []
    for record, same_key, pending in zip(records, found[::2], found[1::2], strict=True):
        key, place = record["idempotencyKey"], record["concurrencyKey"]
        is_place_held = {"pending": bool(pending), "leased": place in leased}.get(record["status"], False)
        fitted.append(
            move.fitted(
                record,
                is_key_held=key is not None and bool(same_key),
                is_place_held=place is not None and is_place_held,
            )
        )
    return fitted


def _chunks_of_sqlite(sql: SqlDriver, table: Table) -> Iterator[list[Record]]:
    records: list[Record] = []
    while not records or len(records) == CHUNK:
        rows = sql.run(*table.next_rows(records[-1] if records else None))
        if not rows:
            return
        records = [table.record(row) for row in rows]
        yield records


def _empty_sqlite(sql: SqlDriver) -> None:
    """Empty the file itself too, and not only its log, since the files of an empty database are deleted."""
    statements = Statements(sql)
    with statements.transaction(fenced=False):
        for table in TABLES:
            statements.execute(f"DELETE FROM {table.name}")
    sql.run("PRAGMA wal_checkpoint(TRUNCATE)", {})
