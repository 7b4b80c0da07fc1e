"""A SQLite database out of the browser and back in: what an exported file holds, and which files are taken in."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from e2e.browser import Browser
from e2e.conftest import test_page
from e2e.engines import Tabbed
from e2e.server import Server
from e2e.test_sqlite import count, exported, imported, opened, runs

MARK = "sécret-4711"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
DEEP_VIEW = f"CREATE VIEW deep AS SELECT 1{'+1' * 9_000}"
DEEP = "[" * 100_000 + "]" * 100_000

ON_SCHEMA = "PRAGMA writable_schema = ON"
REFUSED: Sequence[tuple[str, Sequence[str]]] = [
    ("runs", ["DROP TABLE runs", f"CREATE VIEW runs AS {ENDLESS}"]),
    ("view extra", [f"CREATE VIEW extra AS {ENDLESS}"]),
    ("trigger extra", ["CREATE TRIGGER extra AFTER INSERT ON runs BEGIN DELETE FROM runs; END"]),
    ("index extra", ["CREATE INDEX extra ON runs (hex(zeroblob(length(id))))"]),
    ("table runs", ["ALTER TABLE runs ADD COLUMN extra TEXT AS (hex(zeroblob(500000000)))"]),
    ("table crashes", ["DROP TABLE crashes"]),
    ("version 0", ["PRAGMA user_version = 0"]),
    ("column value is not JSON", ["UPDATE payloads SET value = 'NaN'"]),
    ("column value is not JSON", ["UPDATE payloads SET value = printf('1%05000d', 0)"]),
    ("nested too deeply", [f"UPDATE payloads SET value = '{DEEP}'"]),
    ("column value is not UTF-8", ["UPDATE payloads SET value = CAST(x'22eda08022' AS TEXT)"]),
    ("column labels is a BLOB", ["UPDATE runs SET labels = x'7b7d'"]),
    ("column labels is not a JSON object", ["UPDATE runs SET labels = '[]'"]),
    ("column progress", ["UPDATE runs SET progress = '{}'"]),
    ("column created_at is not a time", ["UPDATE runs SET created_at = '2026-02-30T00:00:00.000Z'"]),
    ("column lease_generation is not a whole", ["UPDATE runs SET lease_generation = 9223372036854775807"]),
    ("column job_name has a NUL", ["UPDATE runs SET job_name = 'a' || char(0)"]),
    ("column completed_at is NULL", ["UPDATE runs SET completed_at = NULL"]),
    ("column status is none of", ["PRAGMA ignore_check_constraints = ON", "UPDATE runs SET status = 'paused'"]),
    ("column value is missing", ["DELETE FROM payloads WHERE kind = 'input'"]),
    ("column run_id is that of no run", ["UPDATE logs SET run_id = 'a'"]),
    ("corrupt", [ON_SCHEMA, "UPDATE sqlite_schema SET rootpage = 2 WHERE name IN ('runs', 'steps')"]),
    ("corrupt", [ON_SCHEMA, f"INSERT INTO sqlite_schema VALUES ('view', 'deep', 'deep', 0, '{DEEP_VIEW}')"]),
]


TRIGGER_MARKED = f"""(async () => {{
  const mark = '{MARK}';
  await durably.jobs.count.triggerAndWait({{ label: 'kept', steps: 2 }});
  const trigger = (number) => durably.jobs.anything.trigger(
    {{ [mark]: Array(500).fill(mark) }}, {{ idempotencyKey: `${{mark}}-${{number}}`, labels: {{ mark }} }});
  window.marked = await Promise.all(Array.from({{ length: 20 }}, (_, number) => trigger(number)));
  for (const {{ id }} of marked) await durably.waitForRun(id);
}})()"""
FILE = """(async () => {
  window.file = await durably.exportDatabase();
  const letters = Array.from(new Uint8Array(await file.arrayBuffer()), (byte) => String.fromCharCode(byte));
  return btoa(letters.join(''));
})()"""
SHOWN = """durably.getRuns().then((runs) => Promise.all(
  runs.map(async (run) => [run, await durably.storage.getSteps(run.id), await durably.storage.getLogs(run.id)])
))"""


@contextmanager
def database_of(file: bytes) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.deserialize(file)
        yield database


def changed(file: bytes, statements: Sequence[str]) -> bytes:
    with database_of(file) as database:
        for statement in statements:
            database.execute(statement)
        return database.serialize()


def in_utf_16(file: bytes) -> bytes:
    with database_of(file) as database, closing(sqlite3.connect(":memory:")) as other:
        other.execute("PRAGMA encoding = 'UTF-16le'")
        other.executescript("\n".join(database.iterdump()))
        return other.serialize()


def test_a_file_that_no_database_of_ours_could_be_is_refused(browser: Browser, server: Server) -> None:
    page = opened(browser, server)
    run = count(page, "kept")
    file = exported(page)
    for reason, hostile in (
        *((reason, changed(file, statements)) for reason, statements in REFUSED),
        ("text encoding", in_utf_16(file)),
    ):
        error = imported(page, hostile)
        assert (error["name"], reason in error["message"]) == ("StoreError", True), (reason, error)
        assert runs(page) == [run], reason
    assert imported(page, file) == {"value": None}
    assert count(page, "after")["status"] == "completed"


def test_a_file_that_cannot_be_read_is_a_store_error(browser: Browser, server: Server) -> None:
    page = opened(browser, server)
    error = page.evaluate("durably.importDatabase('a path').catch(({ name, message }) => ({ name, message }))")
    assert error["name"] == "StoreError" and "cannot be read" in error["message"]


def test_a_file_that_sqlite3_wrote_again_is_taken_over(browser: Browser, server: Server) -> None:
    page = opened(browser, server)
    run = count(page, "again")
    file = changed(exported(page), ["VACUUM"])
    with database_of(file) as database:
        database.execute("PRAGMA journal_mode = WAL")
    assert imported(page, file[:18] + b"\2\2" + file[20:]) == {"value": None}
    assert runs(page) == [run]


def test_an_exported_file_holds_what_is_shown_and_no_more(tabbed: Tabbed, server: Server) -> None:
    tabbed.open(test_page(server, store="sqlite"))
    tabbed.evaluate(TRIGGER_MARKED)
    assert b"4711" in base64.b64decode(str(tabbed.evaluate(FILE))), "the mark is found where it is"

    tabbed.evaluate("(async () => { for (const { id } of marked) await durably.deleteRun(id); })()")
    file = base64.b64decode(str(tabbed.evaluate(FILE)))

    assert b"4711" not in file
    with database_of(file) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM calls").fetchall() == [(0,)]
    before = tabbed.evaluate(SHOWN)
    tabbed.evaluate("durably.importDatabase(file).then(() => null)")
    assert before == tabbed.evaluate(SHOWN) != []
