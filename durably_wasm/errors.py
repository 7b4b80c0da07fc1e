"""Every exception of the package, one tree.

DurablyError(Exception)
├── ValidationError          input, labels, options; also a ValueError
├── NotFoundError            run or job unknown; also a LookupError
├── ConflictError            the run's state or a key forbids it
├── RunFailedError           the awaited run failed; carries the run
├── RunCancelledError        the awaited run was cancelled; carries the run id
├── WaitTimeoutError         also a TimeoutError
└── StoreError               the database refused; carries the cause
StopExecution(BaseException) inside a job only
├── RunCancelled
└── LeaseLost
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durably_wasm.models import Run

__all__ = [
    "ConflictError",
    "DurablyError",
    "LeaseLost",
    "NotFoundError",
    "RunCancelled",
    "RunCancelledError",
    "RunFailedError",
    "StopExecution",
    "StoreError",
    "ValidationError",
    "WaitTimeoutError",
]


_MOST_OF_A_MESSAGE = 10_000  # characters; it lies in the run's row, which lists bring
_ROOM_FOR_THE_GAP = 50


def _reduce(error: BaseException) -> tuple[Callable[..., BaseException], tuple[object, ...]]:
    """Pickle and copy an error by what it says and carries, however its class is constructed."""
    return _restore, (type(error), error.args, error.__dict__)


def _restore(kind: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class DurablyError(Exception):
    """Catch this to catch whatever the package raises outside a job."""

    __reduce__ = _reduce


class ValidationError(DurablyError, ValueError):
    """Raised before anything is stored: an input, a label, a key or an option is wrong."""


class NotFoundError(DurablyError, LookupError):
    """Raised when no run has this id, or no job this name."""


class ConflictError(DurablyError):
    """Raised when the run's state, or a key that another run holds, forbids the change."""


class RunFailedError(DurablyError):
    """Raised to whoever waits for a run that failed; ``run`` is its final row."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"Run {run.id} of job {run.job_name!r} failed: {run.error}")
        self.run = run


class RunCancelledError(DurablyError):
    """Raised to whoever waits for a run that was cancelled; ``run_id`` names it."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"Run {run_id} was cancelled")
        self.run_id = run_id


class WaitTimeoutError(DurablyError, TimeoutError):
    """Raised when a run did not end within ``timeout_ms``; the run itself goes on."""


class StoreError(DurablyError):
    """Raised when the database refused or could not be reached; ``__cause__`` is its own error.

    The call may have been applied all the same. Without any of the attributes the failure passes (the database is
    locked, the connection lost), and the call may be repeated.

    Attributes:
        is_full: There is no room left. Nothing of the call was applied; it may be repeated when there is room.
        is_final: It will be refused for ever, to this engine: another one has the database now, or it is gone or
            broken.
        is_caused_by_data: The database works, and refuses these values: they are too large, break a constraint or
            cannot be encoded. The same call will be refused again.
    """

    def __init__(
        self, message: str, *, is_full: bool = False, is_final: bool = False, is_caused_by_data: bool = False
    ) -> None:
        super().__init__(message)
        self.is_full = is_full
        self.is_final = is_final
        self.is_caused_by_data = is_caused_by_data


class StopExecution(BaseException):
    """Stop the job function at once.

    It derives from BaseException, so that a step's ``except Exception`` cannot swallow it.
    """

    __reduce__ = _reduce


class RunCancelled(StopExecution):
    """Stop because the run was cancelled."""


class LeaseLost(StopExecution):
    """Stop because another worker claimed the run; whatever this one did since is not stored."""


def message_of(error: BaseException) -> str:
    """Return an error's message as text that every store can hold; its type's name when `str` gives none or raises."""
    try:
        return storable(str(error)) or name_of(type(error))
    except Exception:  # a user's `__str__` may raise anything
        return name_of(type(error))


def name_of(kind: type) -> str:
    """Return a type's name, whatever its metaclass makes of the attribute."""
    name: str = type.__dict__["__name__"].__get__(kind)
    return name


def storable(text: str, most: int = _MOST_OF_A_MESSAGE) -> str:
    """Return text that UTF-8 can write, of at most `most` characters: what is too long loses its middle."""
    if len(text) > most:
        half = most // 2 - _ROOM_FOR_THE_GAP
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters are left out …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
