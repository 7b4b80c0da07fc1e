"""What databases give back, as the package's rows, and the other way round.

A SQL row has its columns in the order of `sql/schema_1.sql`; an IndexedDB record has the fields' names in camelCase,
as the page reads it too. In both, payloads are JSON text, and what they hold is typed by the schema alone, hence `Any`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeAlias

from durably_wasm.errors import message_of
from durably_wasm.models import Crash, LastProgress, Log, Progress, Run, Step, UnreadableRun, camel_case
from durably_wasm.payloads import decode, encode

SqlRow: TypeAlias = Sequence[Any]
Record: TypeAlias = Mapping[str, Any]

_RUN_COLUMNS = [field.name for field in fields(Run) if field.name not in ("input", "output")]
_STEP_COLUMNS = [field.name for field in fields(Step)]
_LOG_COLUMNS = [field.name for field in fields(Log)]
_STEPS = 1 << 32  # more than a run completes
_CRASH_COLUMNS = [field.name for field in fields(Crash)]
_CAMEL = {name: camel_case(name) for name in (*_RUN_COLUMNS, *_STEP_COLUMNS, *_LOG_COLUMNS, *_CRASH_COLUMNS)}


def run_from_row(row: SqlRow) -> Run:
    """Read a row of `runs` with the texts of its input and output."""
    *columns, input, output = row
    values: dict[str, Any] = dict(zip(_RUN_COLUMNS, columns, strict=True))
    progress = values.pop("progress")
    values["labels"] = json.loads(values["labels"])
    return _run(values, progress and json.loads(progress), input, output)


def step_from_row(row: SqlRow) -> Step:
    """Read a row of `steps`."""
    return _step(dict(zip(_STEP_COLUMNS, row, strict=True)))


def log_from_row(row: SqlRow) -> Log:
    """Read a row of `logs`."""
    return _log(dict(zip(_LOG_COLUMNS, row, strict=True)))


def crash_from_row(row: SqlRow) -> Crash:
    """Read a row of `crashes`."""
    return Crash(**dict(zip(_CRASH_COLUMNS, row, strict=True)))


def progress_key(run_id: str) -> str:
    """Return the key in `meta` of a run's last progress: version 1 of the schema has no table for it."""
    return f"progress/{run_id}"


def progress_to_number(last: LastProgress) -> int:
    """Write a run's last progress as the one number that a row of `meta` has, exact in JavaScript too."""
    return last.generation * _STEPS + last.completed_step_count


def progress_from_number(run_id: str, number: int) -> LastProgress:
    """Read a run's last progress."""
    generation, steps = divmod(int(number), _STEPS)
    return LastProgress(run_id=run_id, generation=generation, completed_step_count=steps)


def claim_of_row(row: SqlRow) -> tuple[int, int]:
    """Return the generation and the number of completed steps of a row of `runs`, whatever its payloads hold."""
    return row[_RUN_COLUMNS.index("lease_generation")], row[_RUN_COLUMNS.index("completed_step_count")]


def progress_to_text(progress: Progress | None) -> str | None:
    """Write progress as it is stored in a SQL row."""
    return None if progress is None else json.dumps(asdict(progress), allow_nan=False)


def run_from_record(record: Record, input: str | None = "null", output: str | None = None) -> Run:
    """Read a record of `runs` with its payloads' text, as far as that was read."""
    values = {name: record[_CAMEL[name]] for name in _RUN_COLUMNS}
    return _run(values, values.pop("progress"), input, output)


def with_payloads(run: Run, input: str | None, output: str | None) -> Run:
    """Return a run that was read without its payloads with their text."""
    values = {name: getattr(run, name) for name in _RUN_COLUMNS if name != "progress"}
    return _run(values, None if run.progress is None else asdict(run.progress), input, output)


def record_from_run(run: Run) -> Record:
    """Write a record of `runs`, without its payloads."""
    record = {_CAMEL[name]: getattr(run, name) for name in _RUN_COLUMNS}
    return {**record, "progress": run.progress and asdict(run.progress), "labels": dict(run.labels)}


def step_from_record(record: Record) -> Step:
    """Read a record of `steps`."""
    return _step({name: record[_CAMEL[name]] for name in _STEP_COLUMNS})


def record_from_step(step: Step) -> Record:
    """Write a record of `steps`."""
    record = {_CAMEL[name]: getattr(step, name) for name in _STEP_COLUMNS}
    return {**record, "output": encode(step.output)}


def log_from_record(record: Record) -> Log:
    """Read a record of `logs`."""
    return _log({name: record[_CAMEL[name]] for name in _LOG_COLUMNS})


def record_from_log(log: Log) -> Record:
    """Write a record of `logs`."""
    record = {_CAMEL[name]: getattr(log, name) for name in _LOG_COLUMNS}
    return {**record, "data": encode(log.data)}


def crash_from_record(record: Record) -> Crash:
    """Read a record of `crashes`."""
    return Crash(**{name: record[_CAMEL[name]] for name in _CRASH_COLUMNS})


def record_from_crash(crash: Crash) -> Record:
    """Write a record of `crashes`."""
    return {_CAMEL[name]: getattr(crash, name) for name in _CRASH_COLUMNS}


def _run(values: dict[str, Any], progress: dict[str, Any] | None, input: str | None, output: str | None) -> Run:
    """Make a run; damaged payloads stay the text that is stored, so that other runs can be read."""
    values["progress"] = None if progress is None else Progress(**progress)
    try:
        return Run(**values, input=decode(input or ""), output=None if output is None else decode(output))
    except (ValueError, RecursionError) as error:
        reason = f"What is stored of run {values['id']} is no JSON: {message_of(error)}"
        return UnreadableRun(**values, input=input, output=output, decode_error=reason)


def _step(values: dict[str, Any]) -> Step:
    return Step(**{**values, "output": decode(values["output"])})


def _log(values: dict[str, Any]) -> Log:
    return Log(**{**values, "data": decode(values["data"])})
