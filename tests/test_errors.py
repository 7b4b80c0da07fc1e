"""An error of the tree is the same after it was pickled or copied, whatever its class is constructed from."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from durably_wasm import Run, errors
from durably_wasm.errors import DurablyError, RunCancelledError, RunFailedError, StopExecution, StoreError
from durably_wasm.stores.epochs import EpochOver

RUN = Run(
    id="01",
    job_name="import",
    input={"a": [1]},
    status="failed",
    error="boom",
    labels={"k": "v"},
    created_at="2026-01-01T00:00:00.000Z",
    updated_at="2026-01-01T00:00:00.000Z",
)


class Nested(StoreError):
    """A class that a user derives, with a constructor of its own."""

    def __init__(self, *, table: str, row: int) -> None:
        super().__init__(f"Row {row} of {table} is damaged", is_full=True)
        self.row = row


MADE: dict[type, Callable[[], BaseException]] = {
    RunFailedError: lambda: RunFailedError(RUN),
    RunCancelledError: lambda: RunCancelledError("01"),
    StoreError: lambda: StoreError("refused", is_full=True, is_final=True),
    EpochOver: lambda: EpochOver(3),
    Nested: lambda: Nested(table="runs", row=3),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {n}": lambda error, n=n: pickle.loads(pickle.dumps(error, n))
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


def tree(root: type) -> Iterator[type]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


CLASSES = sorted(dict.fromkeys([*tree(DurablyError), *tree(StopExecution)]), key=lambda cls: cls.__qualname__)


def test_the_tree_is_whole() -> None:
    public = {getattr(errors, name) for name in errors.__all__}
    assert public <= set(CLASSES)
    assert EpochOver in CLASSES


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__qualname__)
def test_keeps_class_message_and_attributes(cls: type, how: str) -> None:
    error = MADE.get(cls, lambda: cls("what happened"))()
    error.add_note("where")
    other = COPIES[how](error)
    assert other is not error
    assert type(other) is cls
    assert (str(other), repr(other), other.args) == (str(error), repr(error), error.args)
    assert vars(other) == vars(error)
    assert str(COPIES[how](other)) == str(error)


@pytest.mark.parametrize("args", [(), ("one", 2), (2, "two")], ids=repr)
@pytest.mark.parametrize("how", COPIES)
def test_keeps_whatever_it_was_given(args: tuple[object, ...], how: str) -> None:
    for cls in (DurablyError, errors.WaitTimeoutError, errors.ValidationError, errors.NotFoundError, StopExecution):
        error = cls(*args)
        other = COPIES[how](error)
        assert (type(other), other.args, str(other)) == (cls, error.args, str(error))


def test_a_deep_copy_shares_nothing_and_a_copy_the_run() -> None:
    error = RunFailedError(RUN)
    assert copy.copy(error).run is RUN
    deep = copy.deepcopy(error).run
    assert deep == RUN and deep.input is not RUN.input
