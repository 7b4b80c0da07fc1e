"""The end of something outside the event loop, for the one coroutine that awaits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context


class End:
    """What `asyncio.Future` is, but who awaits it goes on inside `come`, and not a turn of the event loop later.

    A turn costs a tenth of an IndexedDB transaction, and `come` is called by the browser, between two turns: as a rule
    no task is running then that another one would interrupt.
    """

    def __init__(self) -> None:
        self._asyncio_future_blocking = False  # by which a task knows a future
        self._loop = asyncio.get_running_loop()
        self._callback: Callable[[], object] | None = None
        self._has_come = False
        self._is_cancelled = False
        self._error: BaseException | None = None

    def come(self, error: BaseException | None = None) -> None:
        """Let who awaits this go on, or raise `error` there."""
        if self._is_cancelled:
            return  # nobody awaits it any more
        self._has_come, self._error = True, error
        if self._callback is None:
            return
        if asyncio.current_task(self._loop) is None:
            self._callback()
        else:  # one that waits inside JavaScript (`pyodide.ffi.run_sync`), or that Python died of
            self._loop.call_soon(self._callback)

    def __await__(self) -> Generator[object, None, None]:
        if not self._has_come:
            self._asyncio_future_blocking = True
            yield self
        self.result()

    def add_done_callback(self, callback: Callable[[object], object], *, context: Context | None = None) -> None:
        """Take the task's own callback; see `asyncio.Future`."""
        run = callback if context is None else lambda end: context.run(callback, end)
        self._callback = lambda: run(self)

    def result(self) -> None:
        """Raise what it ended with, if that is an error."""
        if self._is_cancelled:
            raise asyncio.CancelledError
        if self._error is not None:
            raise self._error

    def cancelled(self) -> bool:
        """Say whether it was given up."""
        return self._is_cancelled

    def cancel(self, msg: object = None) -> bool:
        """Give up waiting; what the browser does goes on."""
        if self._has_come or self._is_cancelled:
            return False
        self._is_cancelled = True
        if self._callback is not None:
            self._loop.call_soon(self._callback)
        return True

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop whose task awaits it."""
        return self._loop
