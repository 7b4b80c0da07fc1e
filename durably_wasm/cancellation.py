"""What must not be cut in half when its caller is cancelled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from types import coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Sleeper(Protocol):
    """The part of a `Clock` that a timer needs."""

    async def sleep(self, ms: int) -> None:
        """Return `ms` milliseconds later."""
        ...


class _Future(Protocol):
    """What a coroutine hands to its task to wait for: an `asyncio.Future`, or what looks like one."""

    _asyncio_future_blocking: bool

    def get_loop(self) -> asyncio.AbstractEventLoop: ...
    def add_done_callback(self, callback: Callable[[object], object], *, context: Context | None = None) -> None: ...
    def cancelled(self) -> bool: ...


async def to_its_end(work: Coroutine[object, object, T], *, on_cancel: Callable[[], None] = lambda: None) -> T:
    """Await `work` whole: a cancellation that arrives meanwhile is delivered after it has ended.

    A checkpoint is such work: once the step's function has returned, its result has to reach the store. `on_cancel`
    is called when the cancellation arrives, for work that can make haste.

    The work stays in the caller's own task: in a browser, another one would cost it turns of the event loop.
    """
    return await _Drive(on_cancel).drive(work)


class _Drive:
    """Runs a coroutine's work in the task of whoever awaits it, out of reach of that task's cancellation."""

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        self._on_cancel = on_cancel
        self._cancelled: asyncio.CancelledError | None = None

    @coroutine
    def drive(self, work: Coroutine[object, object, T]) -> Generator[object, None, T]:
        error: BaseException | None = None
        while True:
            try:
                waits_for = work.send(None) if error is None else work.throw(error)
            except StopIteration as end:
                if self._cancelled is not None:
                    raise self._cancelled from None
                result: T = end.value
                return result
            except BaseException as failure:
                if self._cancelled is not None:
                    raise self._cancelled from failure
                raise
            error = yield from self._wait_shielded(waits_for)

    def _wait_shielded(self, future: Any) -> Generator[object, None, BaseException | None]:
        with _shield_of_anyio():
            return (yield from self._wait(future))

    def _wait(self, future: Any) -> Generator[object, None, BaseException | None]:
        """Wait for a future, or for a turn of the event loop, and return what is to be raised in the work."""
        wait = None if future is None else _Wait(future, self._on_cancel)
        try:
            yield wait
        except asyncio.CancelledError as error:
            if wait is None:
                self._on_cancel()
            if wait is None or wait.has_refused:
                self._cancelled = error
            return error if wait is not None and wait.cancelled() else None  # cancelled by whoever owns the future
        except BaseException as error:  # the future failed, or nobody awaits this any more
            return error
        return None


def _shield_of_anyio() -> AbstractContextManager[object]:
    """Tell anyio, where the process uses it, that its cancellations wait.

    A scope of anyio's cancels its tasks again in each turn of the event loop until they have ended, which keeps the
    processor busy for as long as one of them does not obey; unless it waits in a shielded scope.
    """
    anyio = sys.modules.get("anyio")
    if anyio is None:
        return nullcontext()
    shield: AbstractContextManager[object] = anyio.CancelScope(shield=True)
    return shield


class _Wait:
    """A future as the task sees it that waits for it, whose cancellation does not reach it.

    A task whose future cannot be cancelled waits for its end, and is told of its own cancellation then.
    """

    def __init__(self, future: _Future, on_cancel: Callable[[], None]) -> None:
        self._asyncio_future_blocking = True
        future._asyncio_future_blocking = False  # which told that it is waited for, by us now
        self._on_cancel = on_cancel
        self.has_refused = False
        self.get_loop = future.get_loop
        self.add_done_callback = future.add_done_callback
        self.cancelled = future.cancelled

    def cancel(self, msg: object = None) -> bool:
        self.has_refused = True
        self._on_cancel()
        return False


async def cancel_and_wait(*tasks: asyncio.Task[object]) -> None:
    """Cancel tasks and return when they have ended, whatever they end with."""
    for task in tasks:
        task.cancel()
    if running := [task for task in tasks if not task.done()]:
        await asyncio.wait(running)
    for task in tasks:
        if not task.cancelled():
            task.exception()


class Grace:
    """The time that tasks have to end which were cancelled, and may swallow that."""

    def __init__(self, clock: Sleeper, monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timers: list[asyncio.Task[None]] = []

    def begin(self, ms: int | None) -> None:
        """Let the grace end in `ms` milliseconds, or earlier if it was to; None: never."""
        if ms is not None and not self._over.done():
            self._timers.append(asyncio.create_task(self._count(ms, self._monotonic())))

    async def wait_for(self, *tasks: asyncio.Task[Any]) -> bool:
        """Return whether the tasks have ended: when they have, or when the grace is over."""
        while left := [task for task in tasks if not task.done()]:
            if self._over.done():
                return False
            await asyncio.wait([*left, self._over], return_when=asyncio.FIRST_COMPLETED)
        return True

    async def end(self) -> None:
        """Count no more."""
        await cancel_and_wait(*self._timers)

    async def _count(self, ms: int, since: float) -> None:
        await self._clock.sleep(max(0, ms - round(self._monotonic() - since)))
        if not self._over.done():
            self._over.set_result(None)


def start(work: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """Make a task of work, which on Python 3.12 and later runs at once, until it first has to wait.

    A turn of the event loop is dear in a browser. What runs at once must not count on its task being known elsewhere.
    """
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.create_task(work)
