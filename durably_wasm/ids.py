"""Identifiers: of rows, which sort by the time they were made, and of owners of leases.

The former are monotonic ULIDs (https://github.com/ulid/spec). The runtime dependencies of the package are fixed, so
these twenty lines stand in for a library.
"""

from __future__ import annotations

import secrets
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]  # ten bits at a time
_RANDOM_BITS = 80


class Ulids:
    """A source of ULIDs, each greater than the one before, also within a millisecond or when the clock goes back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, now: str, *, after: str = "") -> str:
        """Return an id for the time `now`, 26 characters, that is after the id `after`, which another source made."""
        ms = int(datetime.fromisoformat(now).timestamp() * 1000)
        if after:
            self._last = max(self._last, _number(after))
        fresh = ms << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        self._last = max(fresh, self._last + 1) if ms << _RANDOM_BITS > self._last else self._last + 1
        return "".join([_PAIRS[self._last >> shift & 1023] for shift in range(120, -10, -10)])


def _number(ulid: str) -> int:
    """Return what a ULID counts, 0 for another text."""
    number = 0
    for letter in ulid:
        value = _VALUES.get(letter)
        if value is None:
            return 0
        number = number << 5 | value
    return number


def new_worker_id(epoch: int | None) -> str:
    """Return a name for an engine as an owner of leases, unlike any before; under the lock it tells the epoch."""
    prefix = "worker" if epoch is None else f"lock-{epoch}"
    return f"{prefix}-{secrets.token_hex(8)}"
