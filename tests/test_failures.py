"""Whatever an exception does when it is asked for its text, its run fails once, for a reason that any store keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from object_driver import FakeObjectDriver

from durably_wasm import StepContext, define_job
from durably_wasm.errors import message_of, storable
from durably_wasm.failures import qualified_name, run_error, without_details
from durably_wasm.models import RunError
from durably_wasm.payloads import decode, encode
from durably_wasm.stores import MemoryStore, SqliteStore, Store
from durably_wasm.stores.indexeddb import IndexedDbStore

if TYPE_CHECKING:
    from conftest import AtOnce, Engine

STORES: dict[str, Callable[[], Store]] = {
    "memory": MemoryStore,
    "sqlite": lambda: SqliteStore(":memory:"),
    "indexeddb": lambda: IndexedDbStore(FakeObjectDriver()),
}


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class MuteToo(Mute):
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Numeric(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class Recursive(Exception):
    def __str__(self) -> str:
        return str(self)


class Annotated(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError("no notes")


class OddlyAnnotated(Exception):
    __notes__ = 7


class Uncaused(Exception):
    @property
    def __cause__(self) -> None:  # type: ignore[override]
        raise RuntimeError("no cause")


class Untraced(Exception):
    @property
    def __traceback__(self) -> None:  # type: ignore[override]
        raise RuntimeError("no trace")


class Nameless(type):
    def __getattribute__(cls, name: str) -> object:
        if name in ("__qualname__", "__name__", "__module__"):
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class Unnamed(Exception, metaclass=Nameless):
    def __str__(self) -> str:
        return ""


class Displaced(Exception):
    __module__ = None  # type: ignore[assignment]


def circular() -> Exception:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    one.__context__, two.__context__ = two, one
    return one


def chained() -> Exception:
    error = ValueError("the first")
    for number in range(3_000):
        later = ValueError(f"number {number}")
        later.__context__ = error
        error = later
    return error


def nested() -> Exception:
    error: Exception = ValueError("the innermost")
    for _ in range(50):
        error = ExceptionGroup("around it", [error])
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "mute": Mute,
    "mute, and its repr too": MuteToo,
    "with a number for text": Numeric,
    "recursive": Recursive,
    "with notes that raise": Annotated,
    "with notes that are none": OddlyAnnotated,
    "with a cause that raises": Uncaused,
    "with a traceback that raises": Untraced,
    "of a nameless class": Unnamed,
    "of no module": Displaced,
    "about a number without a text": lambda: ValueError(10**5000),
    "about a surrogate": lambda: ValueError("caf\udce9 \ud800"),
    "about NUL": lambda: ValueError("a\0b"),
    "huge": lambda: ValueError("x" * 20_000_000),
    "huge, of one character each": lambda: KeyError(*["\udcff"] * 100_000),
    "circular": circular,
    "after many others": chained,
    "deep in groups": nested,
    "RecursionError": lambda: RecursionError("maximum recursion depth exceeded"),
    "SyntaxError": lambda: SyntaxError("bad", ("file", "line", object(), 7)),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "StopAsyncIteration": StopAsyncIteration,
}


@contextmanager
def raising(error: BaseException) -> Iterator[None]:
    raise error
    yield


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
class TestError:
    @pytest.mark.parametrize("where", ["the job", "a step"])
    @pytest.mark.parametrize("store", STORES)
    async def test_fails_its_run_once(
        self, engine: Engine, at_once: AtOnce, make: Callable[[], BaseException], store: str, where: str
    ) -> None:
        def fail() -> None:
            raise make()

        async def job(step: StepContext) -> None:
            if where == "a step":
                await step.run("one", fail)
            fail()

        opened = STORES[store]()
        await opened.migrate()
        durably = engine(define_job("job", input=None, output=Any, run=job), store=opened, preserve_steps=True)
        failures: list[Any] = []
        durably.on("run:fail", failures.append)
        durably.on("step:fail", failures.append)
        await durably.jobs.job.trigger()
        assert await at_once(durably.process_until_idle()) == 1
        [run] = await durably.get_runs()
        assert (run.status, run.lease_generation) == ("failed", 1) and run.error and run.error_type
        assert len(run.error) <= 10_000 and len(run.error_traceback or "") <= 100_000
        assert [event.type for event in failures] == (["step:fail"] if where == "a step" else []) + ["run:fail"]
        assert {event.error for event in failures} == {run.error}
        await opened.close()

    def test_has_a_message_a_type_and_as_a_rule_a_traceback(self, make: Callable[[], BaseException]) -> None:
        described = run_error(make())
        assert described.message and described.type
        for text in (described.message, described.type, described.traceback or ""):
            assert text.encode("utf-8").decode("utf-8") == text == decode(encode(text))


def test_an_error_whose_notes_raise_keeps_its_frames() -> None:
    try:
        with raising(Annotated("come back tomorrow")):
            pass
    except Annotated as error:
        described = run_error(error)
    assert described.traceback is not None
    assert "in raising" in described.traceback
    assert described.traceback.endswith(f"{__name__}.Annotated: come back tomorrow\n")


def test_names_of_types() -> None:
    assert qualified_name(ValueError()) == "ValueError"
    assert qualified_name(Mute()) == f"{__name__}.Mute"
    assert qualified_name(Unnamed()) == message_of(Unnamed()) == "Unnamed"


def test_what_is_too_long_loses_its_middle() -> None:
    text = storable("a" * 9_000 + "b" * 9_000)
    assert len(text) <= 10_000 and text.startswith("aaa") and text.endswith("bbb")
    assert " 8100 characters are left out " in text
    assert storable("a" * 10_000) == "a" * 10_000


def test_without_details_there_is_no_traceback_and_the_message_is_short() -> None:
    short = without_details(RunError("x" * 10_000, "T" * 10_000, "trace"))
    assert len(short.message) <= 500 and short.type is not None and len(short.type) <= 200 and short.traceback is None
    assert without_details(RunError("why")) == RunError("why")
