"""The fence around an engine under the database's lock: once the store's epoch is not its own, it changes nothing."""

from __future__ import annotations

from durably_wasm.errors import StoreError


def check_epoch(own: int, current: int | None) -> None:
    """Refuse, for good, an engine whose epoch is not the store's; None: the store knows of no epoch.

    Raises:
        StoreError: With `is_final`: another engine has the lock, or the database was emptied.
    """
    if current is None:
        raise StoreError(f"Epoch {own} is over: the database was emptied since", is_final=True)
    if current != own:
        raise StoreError(f"Epoch {own} is over: another engine holds the database's lock since", is_final=True)
