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

OnProgress = Callable[[Progress], object]
OnLog = Callable[[LogWrite], object]

_ENDS = frozenset({"run:complete", "run:fail", "run:cancel", "run:delete"})


async def wait_for_run(
    environment: Environment,
    run_id: str,
    *,
    timeout_ms: int | None = None,
    polling_interval_ms: int | None = None,
    on_progress: OnProgress | None = None,
    on_log: OnLog | None = None,
) -> Run:
    """Return the run once it is completed; see `Durably.wait_for_run`."""
    news = asyncio.Event()

    def listen(event: Event) -> object:
        if not isinstance(event, RunEvent) or event.run_id != run_id:
            return None
        if event.type in _ENDS:
            news.set()
        elif isinstance(event, RunProgress) and on_progress is not None:
            return on_progress(event.progress)
        elif isinstance(event, LogWrite) and on_log is not None:
            return on_log(event)
        return None  # what a callback returned may be awaitable, and the emitter's to follow

    clock = environment.clock
    interval = polling_interval_ms or environment.options.polling_interval_ms
    unsubscribe = environment.emitter.on("*", listen)
    deadline = None if timeout_ms is None else asyncio.create_task(clock.sleep(timeout_ms))
    try:
        late = timeout_ms == 0
        while True:
            run = _settled(await environment.store.get_run(run_id), run_id)
            if run is not None:
                return run
            if late:
                raise WaitTimeoutError(f"Run {run_id} did not end within {timeout_ms} ms; it goes on")
            await event_or_sleep(news, clock, interval, *([deadline] if deadline else []))
            news.clear()
            late = deadline is not None and deadline.done()  # then look once more: it may have ended just now
    finally:
        unsubscribe()
        if deadline is not None:
            await cancel_and_wait(deadline)


def _settled(run: Run | None, run_id: str) -> Run | None:
    if run is None:
        raise NotFoundError(f"No run has the id {run_id}")
    if run.status not in TERMINAL:
        return None
    if run.status == "failed":
        raise RunFailedError(run)
    if run.status == "cancelled":
        raise RunCancelledError(run_id)
    return run
