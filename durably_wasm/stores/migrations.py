"""The schema's versions, in order.

A SQLite database carries its version as ``PRAGMA user_version``; step *n* takes it from version *n - 1* to *n*.
IndexedDB keeps its own version and is upgraded by the browser: its steps are in `web/shared/schema.js`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from durably_wasm.errors import StoreError

STEPS = ("schema_1.sql",)
VERSION = len(STEPS)


def steps_from(version: int) -> list[str]:
    """Return the scripts that bring a database of a version up to date, none when it is.

    Raises:
        StoreError: The database is newer than this package.
    """
    if version > VERSION:
        raise StoreError(
            f"The database has schema version {version}, and this durably_wasm knows only {VERSION}: "
            "it was written by a newer version of the app and is left as it is"
        )
    return [_read(name) for name in STEPS[version:]]


@cache
def statements() -> dict[str, str]:
    """Return the named statements of `sql/reads.sql` and `sql/writes.sql`."""
    named = {}
    for file in ("reads.sql", "writes.sql"):
        for part in _read(file).split("-- name: ")[1:]:
            name, _, text = part.partition("\n")
            named[name.strip()] = text.strip()
    return named


def import_script() -> str:
    """Return the script that takes over the rows of an attached database of this version."""
    return _read("import.sql")


def export_scripts() -> dict[str, str]:
    """Return the scripts of an export: `schema` makes an empty database, `rows` fills it, attached as `exported`."""
    schema = [*map(_read, STEPS), f"PRAGMA user_version = {VERSION};"]
    return {"schema": "\n".join(schema), "rows": _read("export.sql")}


def _read(name: str) -> str:
    return (files("durably_wasm.stores") / "sql" / name).read_text("utf-8")
