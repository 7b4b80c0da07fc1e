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


class DurablyError(Exception):
    """Catch this to catch whatever the package raises outside a job."""


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

    Whoever does not ask for more may repeat the call later: it may have been applied, unless `is_full`.

    Attributes:
        is_full: There is no room left. Nothing of the call was applied, and with room again it may be repeated.
        is_final: It will never be different, for this engine: another one has the database now, or it is gone.
    """

    def __init__(self, message: str, *, is_full: bool = False, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full
        self.is_final = is_final


class StopExecution(BaseException):
    """Stop the job function at once.

    It derives from BaseException, so that a step's ``except Exception`` cannot swallow it.
    """


class RunCancelled(StopExecution):
    """Stop because the run was cancelled."""


class LeaseLost(StopExecution):
    """Stop because another worker claimed the run; whatever this one did since is not stored."""


def message_of(error: BaseException) -> str:
    """Return what an error says, or its type's name when it says nothing or cannot be asked."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__
