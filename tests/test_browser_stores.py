"""What the browser's stores share, as far as it can be tested without a browser."""

from __future__ import annotations

import pytest

from durably_wasm import ValidationError
from durably_wasm.stores.durability import check_durability


@pytest.mark.parametrize("durability", ["relaxed", "strict"])
def test_there_are_two_durabilities(durability: str) -> None:
    check_durability(durability)


@pytest.mark.parametrize("durability", ["", "Strict", "full", None, 1], ids=repr)
def test_there_is_no_other_durability(durability: str) -> None:
    with pytest.raises(ValidationError, match=r'^durability must be "relaxed" or "strict", not '):
        check_durability(durability)
