"""The fence around an engine under the database's lock: once the store's epoch is not its own, it changes nothing."""

from __future__ import annotations

from durably_wasm.errors import StoreError


class EpochOver(StoreError):
    """Raised to an engine that has lost the database's lock: another one counted the epoch up since. It is final."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"Epoch {epoch} is over: another engine holds the database's lock since", is_final=True)


def check_epoch(own: int, current: int | None) -> None:
    """Refuse, for good, an engine whose epoch is not the store's; None: the store knows of no epoch.

    Raises:
        StoreError: With `is_final`: the database was emptied, or, as `EpochOver`, another engine has the lock.
    """
    if current is None:
        raise StoreError(f"Epoch {own} is over: the database was emptied since", is_final=True)
    if current != own:
        raise EpochOver(own)
