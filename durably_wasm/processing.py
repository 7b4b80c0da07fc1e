"""Claim a run and execute it to its end, and know which runs this engine is executing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from durably_wasm.cancellation import to_its_end
from durably_wasm.crashes import Suspects, failure_of, report_crash
from durably_wasm.environment import Environment
from durably_wasm.errors import LeaseLost, StopExecution
from durably_wasm.events import RunLeased
from durably_wasm.execution import Execution
from durably_wasm.handle import JobHandle
from durably_wasm.models import Run
from durably_wasm.options import GRACE_MS
from durably_wasm.room import with_room


class Processing:
    """The runs that one engine executes.

    `handles` are the registered jobs by name, `wake` is called when a run that held a concurrency key has ended. The
    `before_end` hooks are awaited with a run's id when its job has ended, before its final status is written; those of
    `on_abandoned` are called with it when the run's execution has ended, and its job has not.

    Attributes:
        processed: How many runs were executed to their end, or failed instead of being executed.
    """

    def __init__(
        self, environment: Environment, handles: Mapping[str, JobHandle[Any, Any]], *, wake: Callable[[], None]
    ) -> None:
        self.before_end: list[Callable[[str], Awaitable[None]]] = []
        self.on_abandoned: list[Callable[[str], object]] = []
        self.processed = 0
        self._abandoned: set[asyncio.Task[Any]] = set()  # nothing else may refer to them, and asyncio would forget them
        self._environment = environment
        self._handles = handles
        self._wake = wake
        self._executions: dict[str, Execution] = {}
        self._claims = 0  # that are going on
        self._suspects = Suspects(environment.emitter, wake)
        self._paused = False

    @property
    def waits_for_store(self) -> bool:
        """Whether the store is out of order for one of these runs, so that any other would only wait beside it."""
        return any(execution.waits_for_store for execution in self._executions.values())

    async def process_one(self, worker_id: str, epoch: int | None) -> bool:
        """Claim a run and execute it to its end; say whether there was one. See `Durably.process_one`."""
        claimed: list[Execution] = []
        await self._environment.breather.breathe_if_due()
        try:
            found = await to_its_end(self._claim(worker_id, epoch, claimed))
            for execution in claimed:
                if self._paused:  # since the claim began
                    await execution.pause()
                await execution.run_to_end()
        except asyncio.CancelledError:
            for execution in claimed:
                await to_its_end(execution.give_back())
            raise
        finally:
            for execution in claimed:
                self._forget(execution)
        self.processed += found  # a run too that failed instead of being executed
        for execution in claimed:
            if execution.abandoned:
                self._tell_of_abandoned(execution)
        return found

    def stop(self, run_id: str, reason: StopExecution, grace_ms: int | None = GRACE_MS) -> None:
        """Stop the execution of a run, if it is one of this engine's; see `Execution.stop`."""
        self._suspects.clear(run_id)
        if execution := self._executions.get(run_id):
            execution.stop(reason, grace_ms)

    async def report_crash(self, run_ids: Collection[str], reason: str, call_id: str | None) -> None:
        """Count a death of Python which executed these runs, and go on with those that have not failed of it."""
        failed = await report_crash(self._environment, run_ids, reason, call_id)
        self._suspects.add(set(run_ids) - set(failed))
        for run_id in failed:
            self.stop(run_id, LeaseLost(f"Run {run_id} has failed: Python died of it again and again"))

    async def pause(self) -> None:
        """Let no run begin another step, and return when no step is running."""
        self._paused = True
        await asyncio.gather(*(execution.pause() for execution in self._executions.values()))

    async def _claim(self, worker_id: str, epoch: int | None, claimed: list[Execution]) -> bool:
        if self._suspects and (self._environment.slots.executing or self._claims):
            return False
        self._claims += 1
        try:
            return await self._claim_due(worker_id, epoch, claimed)
        finally:
            self._claims -= 1

    async def _claim_due(self, worker_id: str, epoch: int | None, claimed: list[Execution]) -> bool:
        environment = self._environment
        for execution in list(self._executions.values()):  # who wakes up keeps its own before it takes others'
            await execution.renew_if_overdue()
        run = await with_room(
            environment,
            lambda: environment.store.claim_next(
                worker_id,
                environment.now(),
                environment.options.lease_ms,
                jobs=list(self._handles),
                exclude=list(self._executions),
                epoch=epoch,
                max_claims_without_progress=environment.options.max_claims_without_progress,
                keep_steps=environment.options.preserve_steps,
            ),
        )
        if run is None:
            self._suspects.clear_all()  # none of them is due here, and nothing is beside them
            return False
        if run.status == "failed":  # it was claimed too often
            self._suspects.clear(run.id)
            environment.emitter.emit(failure_of(run))
            return True
        execution = Execution(run, self._handles[run.job_name].definition, environment, self._settle)
        self._executions[run.id] = execution
        claimed.append(execution)
        self._tell_of_lease(run)
        return True

    def _forget(self, execution: Execution) -> None:
        run = execution.run
        del self._executions[run.id]
        execution.free_slot()
        for task in execution.abandoned:
            self._abandoned.add(task)
            task.add_done_callback(self._note_late_end)
        self._suspects.clear(run.id)
        if run.concurrency_key is not None:
            self._wake()

    async def _settle(self, run_id: str) -> None:
        for hook in self.before_end:
            await hook(run_id)

    def _note_late_end(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio reports an exception that is never retrieved

    def _tell_of_abandoned(self, execution: Execution) -> None:
        for listener in self.on_abandoned:
            listener(execution.run.id)

    def _tell_of_lease(self, run: Run) -> None:
        self._environment.emitter.emit(
            RunLeased(
                run_id=run.id,
                job_name=run.job_name,
                labels=dict(run.labels),
                input=run.input,
                lease_owner=run.lease_owner or "",
                lease_expires_at=run.lease_expires_at or "",
            )
        )
