"""Of a run's progress a page gets about one a frame, the newest, in the order of all events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durably_wasm.events import Event, RunComplete, RunProgress
from durably_wasm.models import Progress
from durably_wasm.progress_frames import FRAME_MS, ProgressFrames
from durably_wasm.testing import FakeClock

if TYPE_CHECKING:
    from conftest import Settle


class Page:
    def __init__(self, clock: FakeClock) -> None:
        self.got: list[Event] = []
        self._frames = ProgressFrames(self.got.append, clock)
        self._sequence = 0

    def progress(self, current: int, run_id: str = "a") -> None:
        self._pass_on(RunProgress(run_id=run_id, job_name="job", labels={}, progress=Progress(current)))

    def complete(self, run_id: str = "a") -> None:
        self._pass_on(RunComplete(run_id=run_id, job_name="job", labels={}, output=None, duration=0))

    def _pass_on(self, event: Event) -> None:
        self._sequence += 1
        event.stamp("", self._sequence)
        self._frames.pass_on(event)

    @property
    def values(self) -> list[object]:
        sequences = [event.sequence for event in self.got]
        assert sequences == sorted(set(sequences))
        return [event.progress.current if isinstance(event, RunProgress) else event.type for event in self.got]


async def test_the_first_comes_at_once_and_the_newest_at_the_frame(clock: FakeClock, settle: Settle) -> None:
    page = Page(clock)
    for n in range(1_000):
        page.progress(n)
    assert page.values == [0]
    await settle()
    clock.advance(FRAME_MS)
    await settle()
    assert page.values == [0, 999]
    page.progress(1_000)
    assert page.values == [0, 999]
    await settle()
    clock.advance(FRAME_MS)
    await settle()
    assert page.values == [0, 999, 1_000]
    clock.advance(10 * FRAME_MS)
    await settle()
    page.progress(1_001)
    assert page.values == [0, 999, 1_000, 1_001]


async def test_the_last_comes_before_the_end(clock: FakeClock, settle: Settle) -> None:
    page = Page(clock)
    for n in range(10):
        page.progress(n)
    page.complete()
    assert page.values == [0, 9, "run:complete"]
    await settle()
    clock.advance(FRAME_MS)
    await settle()
    assert page.values == [0, 9, "run:complete"]


async def test_a_job_that_computes_is_followed_too(clock: FakeClock) -> None:
    page = Page(clock)
    for n in range(100):
        page.progress(n)
        clock.advance(1)  # and no timer fires
    assert 100 // FRAME_MS <= len(page.values) <= 100 // FRAME_MS + 2


async def test_each_run_has_its_own_frames(clock: FakeClock, settle: Settle) -> None:
    page = Page(clock)
    for n in range(10):
        page.progress(n, "a")
        page.progress(10 + n, "b")
    await settle()
    clock.advance(FRAME_MS)
    await settle()
    assert page.values == [0, 9, 19] or page.values == [0, 10, 9, 19]
