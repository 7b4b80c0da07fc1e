"""What one execution of a leased run knows: its stored steps, those that are running, and whether it has to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypedDict, TypeVar

from durably_wasm.clock import event_or_sleep
from durably_wasm.environment import Environment
from durably_wasm.errors import ConflictError, LeaseLost, RunCancelled, StopExecution, StoreError, message_of
from durably_wasm.events import ErrorContext
from durably_wasm.models import NewStep, Progress, Run, Step
from durably_wasm.room import with_room
from durably_wasm.stores.base import Settling

T = TypeVar("T")

_FIRST_PAUSE_MS = 100
_LONGEST_PAUSE_MS = 10_000


class RunFields(TypedDict):
    """The fields that every event of a run carries."""

    run_id: str
    job_name: str
    labels: dict[str, str]


class Attempt:
    """One claim of a run, from the lease to whatever ends it.

    All its writes carry the claim's generation, so after a cancellation or a takeover they are refused, and that is
    how it notices.
    """

    def __init__(self, run: Run, environment: Environment) -> None:
        self.run = run
        self.fields: RunFields = {"run_id": run.id, "job_name": run.job_name, "labels": dict(run.labels)}
        self.emitter = environment.emitter
        self.clock = environment.clock
        self.now = environment.now
        self.monotonic = environment.monotonic
        self.stopped: StopExecution | None = None
        self.failed_step_name: str | None = None
        self.is_abandoned = False
        self.job: asyncio.Task[object] | None = None  # the task of the job's function
        self._ended = False
        self._idle: asyncio.Event | None = None  # since `pause`: set when no step is running
        self._stopping = asyncio.Event()
        self._failing: set[object] = set()  # the calls that are repeated
        self._environment = environment
        self._store = environment.store
        self._settling = environment.store if isinstance(environment.store, Settling) else None
        self._lease_ms = environment.options.lease_ms
        self._breather = environment.breather
        self._indexes: dict[str, int] = {}
        self._next_index = 0
        self._completed: set[str] = set()
        self._unread: dict[str, Step] = {}
        self._running: dict[str, asyncio.Task[object] | None] = {}

    @property
    def waits_for_store(self) -> bool:
        """Whether a call of the store failed and is repeated until it succeeds."""
        return bool(self._failing)

    async def load(self) -> None:
        """Read what earlier attempts have stored."""
        for step in await self.insist(lambda: self._store.get_steps(self.run.id)):
            self._indexes[step.name] = step.index
            self._next_index = max(self._next_index, step.index + 1)
            if step.status == "completed":
                self._completed.add(step.name)
                self._unread[step.name] = step

    def stop(self, reason: StopExecution) -> None:
        """Make every further step call raise `reason`; the first reason stays."""
        self.stopped = self.stopped or reason
        self._stopping.set()

    def raise_if_stopped(self) -> None:
        """Raise the reason to stop, if there is one."""
        if self.stopped is not None:
            raise self.stopped
        if self._ended:
            raise StopExecution(f"The job of run {self.run.id} has ended")

    @property
    def has_ended(self) -> bool:
        """Whether no further step may begin."""
        return self._ended

    def is_completed(self, name: str) -> bool:
        """Say whether a step of this name has its result in the store."""
        return name in self._completed

    async def stored_step(self, name: str) -> Step:
        """Return a completed step. Results are held until they are asked for once; after that the store has them."""
        await self.breathe()
        step = self._unread.pop(name, None)
        if step is None:
            steps = await self.insist(lambda: self._store.get_steps(self.run.id))
            step = next((step for step in steps if step.name == name), None)
        if step is None:  # the run has ended, and its steps with it
            raise await self.refused()
        return step

    def begin(self, name: str) -> int:
        """Register a running step and return its index: the one it had before, or the highest + 1.

        Raises:
            ConflictError: A step of this name is running already.
        """
        if name in self._running:
            raise ConflictError(f"Step {name!r} of run {self.run.id} is already running: parallel steps need own names")
        self._running[name] = asyncio.current_task()
        if name not in self._indexes:
            self._indexes[name] = self._next_index
            self._next_index += 1
        return self._indexes[name]

    async def settle(self) -> None:
        """Keep nobody else from reading the database while a step computes."""
        if self._settling is not None:
            await self._settling.settle()

    def end(self, name: str) -> None:
        """Forget a running step."""
        self._running.pop(name, None)
        if self._idle is not None and not self._running:
            self._idle.set()

    async def pause(self) -> None:
        """Let no step begin until the attempt is stopped, and return when none is running."""
        self._idle = self._idle or asyncio.Event()
        if self._running:
            await self._idle.wait()

    async def wait_while_paused(self) -> None:
        """Return at once, unless the attempt is paused: then raise the reason to stop, once there is one."""
        if self._idle is not None:
            await self._stopping.wait()
            self.raise_if_stopped()

    def end_steps(self) -> list[asyncio.Task[object]]:
        """Begin no more steps, cancel those that the job left running in tasks of their own, and return these tasks."""
        self._ended = True
        left = [task for task in self._running.values() if task is not None and not task.done()]
        for task in left:
            task.cancel()
        return left

    def abandon(self) -> list[tuple[str, int]]:
        """Forget the steps that are running, and return their names and indexes. They can neither write nor tell."""
        self._ended = self.is_abandoned = True
        running = [(name, self._indexes[name]) for name in self._running]
        for name in list(self._running):
            self.end(name)
        return running

    def is_running(self, name: str) -> bool:
        """Say whether a step of this name is running, and was not abandoned."""
        return name in self._running

    async def persist(self, new: NewStep) -> Step:
        """Checkpoint a step.

        Raises:
            StopExecution: The write was refused: the run is cancelled, or somebody else's.
            StoreError: With `is_caused_by_data`: the store will never take this result.
        """
        if new.status == "failed":
            self.failed_step_name = self.failed_step_name or new.name
        step = await self.insist(
            lambda: self._store.persist_step(self.run.id, self.run.lease_generation, new, self.now(), self._lease_ms)
        )
        if step is None:
            raise await self.refused()
        if step.status == "completed":
            self._completed.add(new.name)
        return step

    async def breathe(self) -> None:
        """Let the event loop run now and then, however fast the steps are."""
        await self._breather.breathe_if_due()

    async def write_progress(self, progress: Progress) -> None:
        """Store the progress, unless the lease was lost.

        Raises:
            StoreError: The database refused.
        """
        await self._store.update_progress(self.run.id, self.run.lease_generation, progress, self.now())

    async def end_run(self, write: Callable[[], Awaitable[bool]], status: str) -> bool:
        """Write the run's end and say whether it has that status by this attempt.

        A write that failed may have been applied. Its repetition is refused then, and the row shows our generation.
        """
        if await self.insist(write):
            return True
        run = await self.insist(lambda: self._store.get_run(self.run.id))
        return run is not None and run.status == status and run.lease_generation == self.run.lease_generation

    async def refused(self) -> StopExecution:
        """Find out why a write was refused, stop for that reason, and return it."""
        run = await self.insist(lambda: self._store.get_run(self.run.id))
        if run is not None and run.status == "cancelled":
            self.stop(RunCancelled(f"Run {self.run.id} was cancelled"))
        else:
            self.stop(LeaseLost(f"The lease on run {self.run.id} was lost"))
        assert self.stopped is not None
        return self.stopped

    def report(self, error: BaseException, context: ErrorContext) -> None:
        """Emit ``worker:error`` about this run."""
        self._environment.report(error, context, self.run.id)

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call of the store until it succeeds, with growing pauses, and report the outage once.

        A store that is out of order must not fail a run. Repeating is safe: a checkpoint that was applied before
        its call failed is returned as it was stored.

        Raises:
            StopExecution: The run was cancelled or lost meanwhile, or the store will never take this engine's calls.
            StoreError: With `is_caused_by_data`: it would be refused again.
        """
        pause = _FIRST_PAUSE_MS
        try:
            while True:
                try:
                    return await with_room(self._environment, call)
                except StoreError as error:
                    if error.is_caused_by_data:
                        raise
                    self._note_failure(call, error)
                await event_or_sleep(self._stopping, self.clock, pause)
                if self.stopped is not None:
                    raise self.stopped
                pause = min(2 * pause, _LONGEST_PAUSE_MS)
        finally:
            self._failing.discard(call)

    def _note_failure(self, call: object, error: StoreError) -> None:
        if not self._failing or (error.is_final and self.stopped is None):
            self.report(error, "store")
        self._failing.add(call)
        if error.is_final:
            self.stop(LeaseLost(message_of(error)))
