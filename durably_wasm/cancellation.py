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
    task = _start(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if not task.cancelled():
                cancelled = error
                on_cancel()
        except BaseException:  # the work's own error: result() raises it below
            break
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


if sys.version_info >= (3, 12):

    def _start(work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Start at once, so that work over a synchronous store is done without a turn of the loop."""
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
else:

    def _start(work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        return asyncio.create_task(work)
