"""What a commit waits for, in the browser's stores.

| | the tab crashes | the browser crashes or is killed | the machine loses power |
|---|---|---|---|
| ``"relaxed"`` | nothing is lost | nothing is lost | the last commits may be lost, and their steps run again |
| ``"strict"`` | nothing is lost | nothing is lost | nothing is lost, as far as the disk keeps its word |

A relaxed commit has left the browser for the operating system, which writes it to the disk within seconds; a strict one
waits for the disk. In neither is a transaction ever half there.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from durably_wasm.errors import ValidationError

Durability: TypeAlias = Literal["relaxed", "strict"]


def check_durability(durability: str) -> None:
    """Check that there is such a setting.

    Raises:
        ValidationError: There is not.
    """
    if durability not in get_args(Durability):
        raise ValidationError(f'durability must be "relaxed" or "strict", not {durability!r}')
