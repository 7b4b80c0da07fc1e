"""What is kept of the error that a run failed with, as every store can hold it.

An exception belongs to its user: its text, its notes and its chain may raise when they are read, or be of any size.
A run has to end all the same, so what cannot be read is left out.
"""

from __future__ import annotations

import traceback
from types import TracebackType

from durably_wasm.errors import message_of, name_of, storable
from durably_wasm.models import RunError
from durably_wasm.schema import explain

_MOST_OF_A_TRACEBACK = 100_000  # characters

LAST_RESORT = RunError("The run failed, and the store refused to keep the reason")


def run_error(error: BaseException) -> RunError:
    """Describe what a job raised: its message, its type, and its traceback from the job's own frame on."""
    return RunError(message_of(error), qualified_name(error), _traceback_of(error))


def invalid(what: str, error: BaseException) -> RunError:
    """Describe why a run's input or output cannot be used: ``Invalid input: …``."""
    return RunError(f"Invalid {what}: {reason_of(error)}", qualified_name(error))


def without_details(error: RunError) -> RunError:
    """Return the beginning of an error, for a store that has refused the whole."""
    return RunError(storable(error.message, most=500), error.type and storable(error.type, most=200))


def reason_of(error: BaseException) -> str:
    """Return an error's message; of a pydantic one, every field at fault with its reason."""
    try:
        return storable(explain(error)) if isinstance(error, Exception) else message_of(error)
    except Exception:  # raised by a validator's own error
        return message_of(error)


def qualified_name(error: BaseException) -> str:
    """Return the name of an error's type with its module's, but for ``builtins``."""
    kind = type(error)
    try:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return storable(name)
    except Exception:  # a metaclass may answer for these attributes
        return name_of(kind)


def _traceback_of(error: BaseException) -> str | None:
    try:
        frames = error.__traceback__ and error.__traceback__.tb_next
        return storable(_formatted(error, frames), _MOST_OF_A_TRACEBACK)
    except Exception:  # raised where source lines are looked up
        return None


def _formatted(error: BaseException, frames: TracebackType | None) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # raised by the error's notes, or by those of an error before it
        lines = ["Traceback (most recent call last):\n", *traceback.format_tb(frames)]
        return f"{''.join(lines)}{qualified_name(error)}: {message_of(error)}\n"
