"""What a task of a job raises to end the process, kept from ending the event loop.

A task that ends with SystemExit or KeyboardInterrupt raises it out of the event loop, wherever it is awaited: asyncio
does so that the process ends. Of a job's tasks only the run ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from durably_wasm.slots import is_inside_a_run

T = TypeVar("T")
Work: TypeAlias = Generator[Any, None, T] | Coroutine[Any, Any, T]


class TaskExit(BaseException):
    """Raised where a job awaits a task that ended with SystemExit or KeyboardInterrupt, which is its ``error``."""

    def __init__(self, error: SystemExit | KeyboardInterrupt) -> None:
        super().__init__(*error.args)
        self.error = error


@contextmanager
def guarded_loop() -> Iterator[None]:
    """Guard the tasks that jobs start on the running event loop meanwhile.

    Pyodide's loop cannot: with a task factory it calls a function of asyncio that is no more (seen in Pyodide 314).
    """
    if sys.platform == "emscripten":
        yield
        return
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    guard = factory if isinstance(factory, _Guard) else _Guard(factory)
    guard.jobs += 1
    loop.set_task_factory(guard)
    try:
        yield
    finally:
        guard.jobs -= 1
        if guard.jobs == 0 and isinstance(loop.get_task_factory(), _Guard):
            loop.set_task_factory(guard.factory)


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """Return the KeyboardInterrupt that an error is, or that it carries."""
    if isinstance(error, KeyboardInterrupt):
        return error
    if isinstance(error, TaskExit):
        return interrupt_in(error.error)
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((found for part in parts if (found := interrupt_in(part))), None)


class _Guard:
    """A task factory in front of the loop's own."""

    def __init__(self, factory: Callable[..., asyncio.Future[Any]] | None) -> None:
        self.factory = factory
        self.jobs = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Work[T], /, **given: Any) -> asyncio.Future[T]:
        guarded: Work[T] = _Guarded(work) if is_inside_a_run(given.get("context")) else work
        if self.factory is not None:
            return self.factory(loop, guarded, **given)
        loop.set_task_factory(None)  # to have the loop make its own kind of task
        try:
            return loop.create_task(guarded, **given)
        finally:
            loop.set_task_factory(self)


class _Guarded(Generator[Any, Any, T], Coroutine[Any, Any, T]):
    """A coroutine that raises `TaskExit` in the place of what would end the event loop."""

    def __init__(self, work: Work[T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, T]:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)  # by which a task names its coroutine, and finds its stack

    def send(self, value: Any) -> Any:
        """Go on until the next wait."""
        try:
            return self._work.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise TaskExit(error) from error

    def throw(self, *error: Any) -> Any:
        """Go on with an error until the next wait."""
        try:
            return self._work.throw(*error)
        except (SystemExit, KeyboardInterrupt) as exit:
            raise TaskExit(exit) from exit

    def close(self) -> None:
        """End it where it is."""
        self._work.close()
