"""Following one run: where it is now, and then everything that happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from durably_wasm.cancellation import cancel_and_wait
from durably_wasm.environment import Environment
from durably_wasm.errors import NotFoundError
from durably_wasm.events import (
    Event,
    RunCancel,
    RunComplete,
    RunDelete,
    RunEvent,
    RunFail,
    RunLeased,
    RunProgress,
)
from durably_wasm.models import TERMINAL, Run, ms_between
from durably_wasm.slots import Loan, lend_slot

_UNHEARD = frozenset({"run:trigger", "run:coalesced"})
_ENDS = (RunComplete, RunFail, RunCancel, RunDelete)


async def subscribe(environment: Environment, run_id: str) -> AsyncIterator[Event]:
    """Yield a run's events until it has ended; see `Durably.subscribe`."""
    following = _Following(environment, run_id)
    unsubscribe = environment.emitter.on("*", following.listen)
    try:
        run = await environment.store.get_run(run_id)
        if run is None:
            raise NotFoundError(f"No run has the id {run_id}")
        for event in _snapshot(run):
            yield event
        if run.status in TERMINAL:
            return
        while True:
            event = await following.next(run)
            yield event
            if isinstance(event, _ENDS):
                return
    finally:
        unsubscribe()


class _Following:
    """The events of a run that its follower has not taken yet; in a job, waiting for one lends the slot."""

    def __init__(self, environment: Environment, run_id: str) -> None:
        self._environment = environment
        self._run_id = run_id
        self._heard: asyncio.Queue[Event | None] = asyncio.Queue()  # None: look at the store
        self._loan: Loan | None = None

    def listen(self, event: Event) -> None:
        if isinstance(event, RunEvent) and event.run_id == self._run_id and event.type not in _UNHEARD:
            self._end_loan()  # before the slot that the run may have left is filled again
            self._heard.put_nowait(event)

    async def next(self, known: Run) -> Event:
        """Return the next event, or the end that another process has written."""
        while not self._heard.empty():
            if event := self._heard.get_nowait():
                return event
        self._loan = lend_slot(self._environment.slots, known.id, lambda: self._heard.put_nowait(None))
        try:
            return await self._next_or_end(known)
        finally:
            self._end_loan()

    async def _next_or_end(self, known: Run) -> Event:
        environment, heard = self._environment, self._heard
        while True:
            polling = asyncio.create_task(environment.clock.sleep(environment.options.polling_interval_ms))
            hearing = asyncio.create_task(heard.get())
            try:
                await asyncio.wait({polling, hearing}, return_when=asyncio.FIRST_COMPLETED)
                if hearing.done() and (event := hearing.result()):
                    return event
            finally:
                await cancel_and_wait(polling, hearing)
            run = await environment.store.get_run(known.id)
            while not heard.empty():
                if event := heard.get_nowait():
                    return event
            if run is None:
                now = environment.now()
                return RunDelete(run_id=known.id, job_name=known.job_name, labels=dict(known.labels), timestamp=now)
            if run.status in TERMINAL:
                return _end(run)
            if self._loan is not None:
                self._loan.leave_if_in_vain(run)

    def _end_loan(self) -> None:
        if self._loan is not None:
            self._loan.end()
            self._loan = None


def _snapshot(run: Run) -> list[Event]:
    """Return where a run is as events of sequence 0; of a pending one there is nothing to tell."""
    if run.status in TERMINAL:
        return [_end(run)]
    if run.status == "pending":
        return []
    labels = dict(run.labels)
    leased = RunLeased(
        run_id=run.id,
        job_name=run.job_name,
        labels=labels,
        timestamp=run.updated_at,
        input=run.input,
        lease_owner=run.lease_owner or "",
        lease_expires_at=run.lease_expires_at or "",
    )
    if run.progress is None:
        return [leased]
    progress = RunProgress(
        run_id=run.id, job_name=run.job_name, labels=labels, timestamp=run.updated_at, progress=run.progress
    )
    return [leased, progress]


def _end(run: Run) -> Event:
    labels, at = dict(run.labels), run.completed_at or run.updated_at
    if run.status == "completed":
        return RunComplete(
            run_id=run.id,
            job_name=run.job_name,
            labels=labels,
            timestamp=at,
            output=run.output,
            duration=_duration(run),
        )
    if run.status == "failed":
        return RunFail(
            run_id=run.id,
            job_name=run.job_name,
            labels=labels,
            timestamp=at,
            error=run.error or "",
            failed_step_name="unknown",
        )
    return RunCancel(run_id=run.id, job_name=run.job_name, labels=labels, timestamp=at)


def _duration(run: Run) -> int:
    """Return the milliseconds since the run's first start: those of its last attempt are not stored."""
    if run.started_at is None or run.completed_at is None:
        return 0
    return max(0, ms_between(run.started_at, run.completed_at))  # the wall clock may have been set back between them
