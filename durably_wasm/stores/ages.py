"""The ages that a store gives to new runs: time and id, which sort runs from the oldest to the newest."""

from __future__ import annotations

from durably_wasm import transitions
from durably_wasm.ids import Ulids


class Ages:
    """Gives each new run its age.

    Attributes:
        newest: The age of the newest run, as far as it is known; a store that shares its database reads it anew.
    """

    def __init__(self, ids: Ulids) -> None:
        self.newest: tuple[str, str] | None = None
        self._ids = ids

    def next(self, now: str, *, in_order: bool) -> tuple[str, str]:
        """Return time and id of a run that is stored now; with `in_order` after the newest, whatever `now` is."""
        age = transitions.follow(self.newest if in_order else None, self._ids, now)
        self.newest = max(self.newest or age, age)
        return age
