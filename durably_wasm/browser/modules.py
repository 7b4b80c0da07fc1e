"""Job modules: their source, brought by JavaScript, imported as modules, and the jobs in them."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from durably_wasm.errors import ConflictError, DurablyError
from durably_wasm.job import JobDefinition
from durably_wasm.models import camel_case

_FOLDER = Path("/home/pyodide/jobs")


def load_jobs(modules: Sequence[Mapping[str, str]]) -> dict[str, JobDefinition[Any, Any]]:
    """Import modules, given as ``{name, source}``, and return their jobs by the camelCase name of their variable.

    Raises:
        DurablyError: A module does not import, with the file, the line and the traceback; or it defines no job.
        ConflictError: Two jobs have the same name in camelCase.
    """
    _FOLDER.mkdir(parents=True, exist_ok=True)
    if str(_FOLDER) not in sys.path:
        sys.path.insert(0, str(_FOLDER))
    for module in modules:
        (_FOLDER / module["name"]).write_text(module["source"], "utf-8")
    jobs: dict[str, JobDefinition[Any, Any]] = {}
    for module in modules:
        found = _jobs_of(_import(module["name"]))
        if not found:
            raise DurablyError(f"{module['name']} defines no job: decorate an async function with @define_job")
        for key, job in found.items():
            if jobs.setdefault(key, job) is not job:
                raise ConflictError(f"{module['name']} defines a second job {key!r}")
    return jobs


def _import(file: str) -> ModuleType:
    name = file.removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, _FOLDER / file)
    if spec is None or spec.loader is None:
        raise DurablyError(f"{file} is not a Python module: its name must end in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # whatever a module raises, a developer wants to see it
        raise DurablyError(_explain(file, error)) from error
    return module


def _explain(file: str, error: BaseException) -> str:
    path = str(_FOLDER / file)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == path), None)
    if isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno
    text = "".join(["Traceback (most recent call last):\n", *traceback.format_list(frames[1:])])
    text += "".join(traceback.format_exception_only(error))
    return f"{file}, line {line}, does not import: {type(error).__name__}: {error}\n\n{text}"


def _jobs_of(module: ModuleType) -> dict[str, JobDefinition[Any, Any]]:
    return {camel_case(name): value for name, value in vars(module).items() if isinstance(value, JobDefinition)}
