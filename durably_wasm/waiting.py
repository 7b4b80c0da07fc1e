"""Waiting for a run to end: by events of the same engine, with polling as the fallback for other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from durably_wasm.cancellation import cancel_and_wait
from durably_wasm.clock import event_or_sleep
from durably_wasm.environment import Environment
from durably_wasm.errors import NotFoundError, RunCancelledError, RunFailedError, WaitTimeoutError
from durably_wasm.events import Event, LogWrite, RunEvent, RunProgress
from durably_wasm.models import TERMINAL, Progress, Run
from durably_wasm.options import check_interval, patience
from durably_wasm.slots import Loan, lend_slot

OnProgress = Callable[[Progress], object]
OnLog = Callable[[LogWrite], object]

_ENDS = frozenset({"run:complete", "run:fail", "run:cancel", "run:delete"})


async def wait_for_run(
    environment: Environment,
    run_id: str,
    *,
    timeout_ms: float | None = None,
    polling_interval_ms: int | None = None,
    on_progress: OnProgress | None = None,
    on_log: OnLog | None = None,
) -> Run:
    """Return the run once it is completed; see `Durably.wait_for_run`."""
    timeout = check_wait(timeout_ms, polling_interval_ms)
    clock = environment.clock
    wait = _Wait(environment, run_id, on_progress, on_log)
    unsubscribe = environment.emitter.on("*", wait.listen)
    deadline = None if timeout is None else asyncio.create_task(clock.sleep(timeout))
    late = timeout == 0
    try:
        while True:
            run = await wait.look()
            if run.status in TERMINAL:
                return _settled(run)
            if late:
                raise WaitTimeoutError(f"Run {run_id} did not end within {timeout} ms; it goes on")
            wait.lend_slot(run, is_endless=timeout is None)
            interval = polling_interval_ms or environment.options.polling_interval_ms
            await event_or_sleep(wait.news, clock, interval, *([deadline] if deadline else []))
            wait.news.clear()
            late = deadline is not None and deadline.done()  # then look once more: it may have ended just now
    finally:
        wait.end()
        unsubscribe()
        if deadline is not None:
            await cancel_and_wait(deadline)


def check_wait(timeout_ms: float | None, polling_interval_ms: int | None) -> int | None:
    """Check how long to wait and how often to look, and return the former as a timer takes it; None: for ever.

    Raises:
        ValidationError: One of them is wrong; the message names it.
    """
    if polling_interval_ms is not None:
        check_interval("polling_interval_ms", polling_interval_ms)
    return patience("timeout_ms", timeout_ms)


class _Wait:
    """The events of one run during a wait; in a job, it lends the slot of the run that waits.

    Attributes:
        news: Set when the run is to be looked at.
    """

    def __init__(
        self, environment: Environment, run_id: str, on_progress: OnProgress | None, on_log: OnLog | None
    ) -> None:
        self.news = asyncio.Event()
        self._environment = environment
        self._run_id = run_id
        self._on_progress = on_progress
        self._on_log = on_log
        self._loan: Loan | None = None

    def listen(self, event: Event) -> object:
        if not isinstance(event, RunEvent) or event.run_id != self._run_id:
            return None
        if event.type in _ENDS:
            self.end()  # before the slot that the run has left is filled again
            self.news.set()
        elif isinstance(event, RunProgress) and self._on_progress is not None:
            return self._on_progress(event.progress)
        elif isinstance(event, LogWrite) and self._on_log is not None:
            return self._on_log(event)
        return None  # what a callback returned may be awaitable, and the emitter's to follow

    async def look(self) -> Run:
        run = await self._environment.store.get_run(self._run_id)
        if run is None:
            raise NotFoundError(f"No run has the id {self._run_id}")
        return run

    def lend_slot(self, run: Run, *, is_endless: bool) -> None:
        """Lend the slot of the run that waits, unless there is news already or the wait cannot end."""
        if self._loan is None and not self.news.is_set():
            self._loan = lend_slot(self._environment.slots, run.id, self.news.set)
        if self._loan is not None:
            self._loan.leave_if_in_vain(run)
            if is_endless:
                self._loan.check_that_it_can_end(run)

    def end(self) -> None:
        """Take the slot back."""
        if self._loan is not None:
            self._loan.end()
            self._loan = None


def _settled(run: Run) -> Run:
    if run.status == "failed":
        raise RunFailedError(run)
    if run.status == "cancelled":
        raise RunCancelledError(run.id)
    return run
