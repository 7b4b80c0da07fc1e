"""Import a CSV file of airports: one step reads the file, then one step imports each hundred rows.

The result of every step is kept. When the tab goes away in the middle, the next one takes the
finished batches from the store and goes on at the first that is missing.
"""

import asyncio
import csv
import io
import re
from collections import Counter
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from durably_wasm import StepContext, define_job

ROWS_PER_BATCH = 100
SEPARATORS = ",;\t|"
LONGEST_QUOTE = 160  # of a file's text, in a message

csv.field_size_limit(2**31 - 1)  # the most that every platform takes; the default refuses cells of 128 KiB


class ImportInput(BaseModel):
    """A file to import; its content is base64 in JSON."""

    model_config = ConfigDict(val_json_bytes="base64", ser_json_bytes="base64")

    filename: str
    content: bytes
    pause_ms: int = Field(default=0, ge=0, le=5000)


class ImportOutput(BaseModel):
    """What an import, or one batch of it, came to."""

    imported: int = 0
    rejected: int = 0
    by_state: dict[str, int] = {}

    def __add__(self, other: "ImportOutput") -> "ImportOutput":
        return ImportOutput(
            imported=self.imported + other.imported,
            rejected=self.rejected + other.rejected,
            by_state=Counter(self.by_state) + Counter(other.by_state),
        )


class Airport(BaseModel):
    """What a row must be to be imported; its fields are the columns that a file must have."""

    model_config = ConfigDict(str_strip_whitespace=True)

    iata: str = Field(min_length=1)
    name: str = Field(min_length=1)
    city: str = Field(min_length=1)
    state: str
    country: str = Field(min_length=1)
    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)

    @field_validator("state")
    @classmethod
    def check_state(cls, state: str) -> str:
        """Accept two capital letters, but not the placeholder for a missing state."""
        if state == "NA":
            raise ValueError("'NA' is not a state")
        if not re.fullmatch("[A-Z]{2}", state):
            raise ValueError(f"{shortened(state)!r} is not two capital letters")
        return state


class Row(NamedTuple):
    """A row as text, and the line of the file that it ends on."""

    line: int
    cells: list[str]


class Table(BaseModel):
    """A file as it was read, before anything in it is checked."""

    columns: list[str]
    rows: list[Row]


@define_job("import-csv")
async def import_csv(step: StepContext, input: ImportInput) -> ImportOutput:
    """Import the airports in a file, and count them by state."""
    table = await step.run("parse", parse, input.content)
    total = ImportOutput()
    for start in range(0, len(table.rows), ROWS_PER_BATCH):
        number = start // ROWS_PER_BATCH + 1
        rows = table.rows[start : start + ROWS_PER_BATCH]
        total += await step.run(f"batch-{number}", import_batch, step, table.columns, rows, input.pause_ms)
        step.progress(start + len(rows), len(table.rows), "Importing")
    return total


def parse(content: bytes) -> Table:
    """Read a CSV file's header and rows; blank lines are left out."""
    text, hint = without_hint(decode(content))
    separator = max(hint + SEPARATORS, key=lambda separator: len(airport_columns(text, separator)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    skipped = 1 if hint else 0
    try:
        table = [Row(reader.line_num + skipped, cells) for cells in reader if cells]
    except csv.Error as error:
        raise ValueError(f"Line {reader.line_num + skipped} is not valid CSV: {error}.") from error
    if not table:
        raise ValueError("This is not a CSV file of airports. It has no header.")
    header, *rows = table
    columns = without_trailing_blanks([name.strip().lower() for name in header.cells])
    missing = [name for name in Airport.model_fields if name not in columns]
    if missing:
        raise ValueError(
            f"This is not a CSV file of airports. Missing columns: {', '.join(missing)}. "
            f"Its first line has: {shortened(', '.join(columns))}"
        )
    return Table(columns=columns, rows=rows)


def without_hint(text: str) -> tuple[str, str]:
    """Return the text without the line by which Excel names the separator (`sep=;`), and that separator, if any."""
    found = re.match(r"""("?)sep=([^"\r\n])\1[,;\t|]*(?:\r\n|\r|\n)""", text, re.IGNORECASE)
    return (text[found.end() :], found[2]) if found else (text, "")


def airport_columns(text: str, separator: str) -> set[str]:
    """Return the columns of an airport that the header has when this separates its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = next(filter(None, reader), [])
    except csv.Error:
        return set()
    return {name.strip().lower() for name in names} & Airport.model_fields.keys()


def decode(content: bytes) -> str:
    """Return the text of a UTF-8 file, or say what the file is instead."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("The file is UTF-16 text. Save it as UTF-8 and import it again.")
    if b"\0" in content:
        raise ValueError("The file is not text. Save it as CSV and import it again.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"Line {line} is not UTF-8 text (byte {error.start}: 0x{content[error.start]:02X}). "
            "Save the file as UTF-8 and import it again."
        ) from error
    if not text.strip():
        raise ValueError("The file is empty.")
    return text


async def import_batch(step: StepContext, columns: list[str], rows: list[Row], pause_ms: int) -> ImportOutput:
    """Check each row and count it, logging why the rejected ones are."""
    await asyncio.sleep(pause_ms / 1000)
    by_state: Counter[str] = Counter()
    for row in rows:
        try:
            airport = read_airport(columns, row.cells)
        except ValueError as reason:
            step.log.warn(f"Row {row.line}: {reason}", data={"cells": row.cells})
        else:
            by_state[airport.state] += 1
    batch = ImportOutput(imported=by_state.total(), rejected=len(rows) - by_state.total(), by_state=by_state)
    step.log.info(f"{batch.imported} imported, {batch.rejected} rejected")
    return batch


def read_airport(columns: list[str], cells: list[str]) -> Airport:
    """Return the airport in a row; raise ValueError with every reason that it is none."""
    if len(cells) > len(columns):
        cells = cells[: len(columns)] + without_trailing_blanks(cells[len(columns) :])
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, but the header has {len(columns)}")
    try:
        return Airport.model_validate(dict(zip(columns, cells, strict=True)))
    except ValidationError as error:
        reasons = [(fault["loc"][0], fault["msg"]) for fault in error.errors()]
        raise ValueError(
            "; ".join(f"{field}: {msg.removeprefix('Value error, ')}" for field, msg in reasons)
        ) from error


def without_trailing_blanks(cells: list[str]) -> list[str]:
    """Return the cells without the empty ones that separators at the end of a line make."""
    end = len(cells)
    while end > 0 and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def shortened(text: str) -> str:
    """Return the text as it is, or the beginning of a long one."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]} …"
