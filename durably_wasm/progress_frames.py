"""The frames in which a page gets the progress of runs. Knows events, not how they are posted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from durably_wasm.clock import Clock, monotonic_of
from durably_wasm.events import Event, RunProgress

FRAME_MS = 16


class ProgressFrames:
    """Passes events on in their order, but of each run's progress about one a frame, the newest.

    A page cannot draw more, and a job may tell of its progress a thousand times in a frame. A progress that is held
    back is passed on before the next event of another kind, so that none overtakes it.
    """

    def __init__(self, post: Callable[[Event], None], clock: Clock) -> None:
        self._post = post
        self._clock = clock
        self._now = monotonic_of(clock)
        self._held: dict[str, RunProgress] = {}
        self._posted: dict[str, float] = {}  # when, of the runs that had progress in this frame
        self._due = 0.0
        self._timer: asyncio.Task[None] | None = None

    def pass_on(self, event: Event) -> None:
        """Post an event now, or a progress in time."""
        if not isinstance(event, RunProgress):
            self._flush()
            self._post(event)
            return
        now = self._now()
        self._posted = {run_id: at for run_id, at in self._posted.items() if now - at < FRAME_MS}
        if not self._held and event.run_id not in self._posted:
            self._posted[event.run_id] = now
            self._post(event)
        else:
            self._hold(event, now)

    def _hold(self, event: RunProgress, now: float) -> None:
        self._due = self._due if self._held else now + FRAME_MS
        self._held.pop(event.run_id, None)  # the newest is last, as its sequence is
        self._held[event.run_id] = event
        if now >= self._due:  # a job that computes lets no timer fire
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._flush_in_time())

    async def _flush_in_time(self) -> None:
        await self._clock.sleep(FRAME_MS)
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, {}
        for run_id, event in held.items():
            self._posted[run_id] = self._now()
            self._post(event)
