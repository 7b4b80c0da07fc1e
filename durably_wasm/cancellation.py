"""What must not be cut in half when its caller is cancelled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[object, object, T], *, on_cancel: Callable[[], None] = lambda: None) -> T:
    """Await `work` whole: a cancellation that arrives meanwhile is delivered after it has ended.

    A checkpoint is such work: once the step's function has returned, its result has to reach the store. `on_cancel`
    is called when the cancellation arrives, for work that can make haste.
    """
    ended = asyncio.Event()
    task = _start(work, ended)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await ended.wait()
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()


async def cancel_and_wait(*tasks: asyncio.Task[object]) -> None:
    """Cancel tasks and return when they have ended, whatever they end with."""
    for task in tasks:
        task.cancel()
    if running := [task for task in tasks if not task.done()]:
        await asyncio.wait(running)
    for task in tasks:
        if not task.cancelled():
            task.exception()


def start(work: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """Make a task of work, which on Python 3.12 and later runs at once, until it first has to wait.

    A turn of the event loop is dear in a browser. What runs at once must not count on its task being known elsewhere.
    """
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.create_task(work)


if sys.version_info >= (3, 12):

    def _start(work: Coroutine[object, object, T], ended: asyncio.Event) -> asyncio.Task[T]:
        return start(_telling(work, ended))

    async def _telling(work: Coroutine[object, object, T], ended: asyncio.Event) -> T:
        """Set `ended` in the work's own last turn: a task's callbacks are called a turn of the loop later."""
        try:
            return await work
        finally:
            ended.set()
else:

    def _start(work: Coroutine[object, object, T], ended: asyncio.Event) -> asyncio.Task[T]:
        task = start(work)  # may be cancelled before its first turn, so nothing in it can tell its end
        task.add_done_callback(lambda _: ended.set())
        return task
