"""One leased run to its end: call the job's function, renew the lease beside it, write what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from durably_wasm.attempt import Attempt
from durably_wasm.cancellation import Grace, cancel_and_wait, start, to_its_end
from durably_wasm.environment import Environment
from durably_wasm.errors import LeaseLost, StopExecution, StoreError, message_of
from durably_wasm.events import ErrorContext, RunComplete, RunFail, RunLeaseRenewed, StepCancel
from durably_wasm.exits import TaskExit, guarded_loop, interrupt_in
from durably_wasm.failures import LAST_RESORT, invalid, run_error, without_details
from durably_wasm.job import JobDefinition
from durably_wasm.models import Run, RunError, add_ms, to_iso
from durably_wasm.options import GRACE_MS
from durably_wasm.payloads import JsonValue
from durably_wasm.step import ProgressWriter, StepContext

_log = logging.getLogger("durably_wasm")

BeforeEnd = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Completed:
    output: JsonValue


@dataclass(frozen=True, slots=True)
class _Failed:
    error: RunError


@dataclass(frozen=True, slots=True)
class _Interrupted:
    """The process is to end, and not the run."""

    error: KeyboardInterrupt


_Outcome = _Completed | _Failed | _Interrupted


class Execution:
    """A run that this engine has leased, in the slot that it occupies.

    `before_end(run_id)` is awaited when the job has ended, before the run's final status is written.

    Attributes:
        abandoned: The tasks of the job that have swallowed their cancellation, and may go on.
    """

    def __init__(
        self,
        run: Run,
        job: JobDefinition[Any, Any],
        environment: Environment,
        before_end: BeforeEnd,
    ) -> None:
        self.run = run
        self.abandoned: list[asyncio.Task[Any]] = []
        self._definition = job
        self._environment = environment
        self._store = environment.store
        self._clock = environment.clock
        self._emitter = environment.emitter
        self._options = environment.options
        self._before_end = before_end
        self._slot = environment.slots.occupy(run, self._leave)
        self._started = environment.monotonic()
        self._note_renewal(environment.clock.now())
        self._attempt = Attempt(run, environment)
        self._progress = ProgressWriter(self._attempt)
        self._job: asyncio.Task[_Outcome] | None = None
        self._grace = Grace(environment.clock, environment.monotonic)
        self._grace_ms: int | None = None  # of a job that is stopped before it has a task
        self._renewal: asyncio.Task[None] | None = None
        self._renewal_fails = False
        self._leaves = False  # another attempt is to go on with the run
        self._ends = False  # from here on no renewal may see an end whose writer does not know of it yet

    @property
    def waits_for_store(self) -> bool:
        """Whether a call of the store failed and is repeated until it succeeds."""
        return self._attempt.waits_for_store

    def stop(self, reason: StopExecution, grace_ms: int | None = GRACE_MS) -> None:
        """Stop the job: what it awaits is cancelled, synchronous work finds out at its next step.

        A job that swallows its cancellation is abandoned after `grace_ms`, unless that is None: it loses its slot, and
        its later writes are refused.
        """
        self._attempt.stop(reason)
        if self._job is None:
            self._grace_ms = grace_ms
        else:
            self._cancel(self._job, grace_ms)

    async def pause(self) -> None:
        """Let the job begin no further step until it is stopped, and return when none is running."""
        await self._attempt.pause()

    async def renew_if_overdue(self) -> None:
        """Renew the lease if that was due a whole lease ago: the machine was asleep, and the lease is over.

        A wall clock that was set back is another reason: to it, the lease lasts too long.
        """
        lease = timedelta(milliseconds=self._options.lease_ms)
        is_due = not timedelta(0) <= self._clock.now() - self._renewed_at < lease
        if is_due and not self._ends and self._attempt.stopped is None:
            await self._renew_lease()

    async def run_to_end(self) -> None:
        """Execute the job and write how it ended, unless the run is not ours any more.

        When this is cancelled, the job still has to be stopped: see `give_back`.

        Raises:
            KeyboardInterrupt: The job did; the lease was given back.
        """
        outcome: _Outcome | None = None
        try:
            outcome = await self._outcome()
            if isinstance(outcome, _Interrupted):
                self._leave()
            await self._end_steps()
            await self._progress.flush()
            outcome = await self._settled(outcome)
            self._ends = True
            if self._renewal is not None:
                self._renewal.cancel()
            if isinstance(outcome, _Completed | _Failed) and self._attempt.stopped is None:
                await to_its_end(self._write_end(outcome), on_cancel=lambda: self.stop(_worker_cancelled()))
        except StopExecution:
            await self._settled(None)
        finally:
            if self._renewal is not None:
                await cancel_and_wait(self._renewal)
            await self._grace.end()
        if self._leaves:
            await to_its_end(self._release())
        if isinstance(outcome, _Interrupted):
            raise outcome.error

    async def give_back(self) -> None:
        """Stop the job and give the run's lease back, for another worker to claim it at once."""
        self.stop(_worker_cancelled())
        if self._job is not None and not await self._grace.wait_for(self._job):
            self._abandon(self._job)
        await self._end_steps()
        await self._grace.end()
        await self._settled(None)
        await self._release()

    def free_slot(self) -> None:
        """Let another run have the slot."""
        self._environment.slots.free(self._slot)

    def _leave(self) -> StopExecution:
        """Stop the job, have the run's lease given back when it has ended, and return the reason."""
        self._leaves = True
        self.stop(_worker_cancelled())
        assert self._attempt.stopped is not None
        return self._attempt.stopped

    async def _outcome(self) -> _Outcome | None:
        """Execute the job; None when it was stopped. Whatever fails before it begins fails the run."""
        try:
            await self._load()
            return await self._end_of_job()
        except Exception as error:  # such as steps that cannot be read
            return _Failed(run_error(error))

    async def _settled(self, outcome: _Outcome | None) -> _Outcome | None:
        """Await what has to be done before the end is written; a completed run fails with what that raises."""
        try:
            await self._attempt.insist(lambda: self._before_end(self.run.id))
        except StopExecution:
            return None
        except Exception as error:
            if isinstance(outcome, _Completed):
                return _Failed(run_error(error))
            self._attempt.report(error, "run-failure")
        return outcome

    async def _load(self) -> None:
        if self.run.lease_generation > 1:  # the first attempt has nothing to read
            self._renewal = asyncio.create_task(self._keep_lease())
            await self._attempt.load()
        self._attempt.raise_if_stopped()

    async def _end_of_job(self) -> _Outcome | None:
        """Run the job; its lease is renewed beside it unless it is done without ever having waited."""
        with guarded_loop():
            job = self._job = start(self._outcome_of_job())
            if not job.done():
                if self._attempt.stopped is not None:  # by what it did at once
                    self._cancel(job, self._grace_ms)
                self._renewal = self._renewal or asyncio.create_task(self._keep_lease())
                if not await self._grace.wait_for(job):
                    self._abandon(job)
                    return None
        return None if job.cancelled() else job.result()

    def _cancel(self, job: asyncio.Task[_Outcome], grace_ms: int | None) -> None:
        job.cancel()
        self._grace.begin(grace_ms)

    async def _end_steps(self) -> None:
        """End the steps that the job left running, and abandon those that swallow it."""
        while left := self._attempt.end_steps():
            if self._attempt.stopped is None:
                self._grace.begin(GRACE_MS)
            if not await self._grace.wait_for(*left):
                return self._abandon(*left)
            for task in left:
                if not task.cancelled():
                    task.exception()  # asyncio reports an exception that is never retrieved

    def _abandon(self, *tasks: asyncio.Task[Any]) -> None:
        """Go on without the job, or without its steps, which have swallowed their cancellation."""
        self.abandoned += tasks
        for name, index in self._attempt.abandon():
            self._emitter.emit(StepCancel(**self._attempt.fields, step_name=name, step_index=index))
        _log.warning(
            "Run %s of job %r swallowed its cancellation and was abandoned: its code may go on, and is not waited for",
            self.run.id,
            self.run.job_name,
        )

    async def _outcome_of_job(self) -> _Outcome:
        self._slot.enter()
        self._attempt.job = asyncio.current_task()
        job, run = self._definition, self.run
        if run.decode_error is not None:
            return _Failed(RunError(f"Invalid input: {run.decode_error}", "ValueError"))
        try:
            input = job.input_schema.from_json(run.input)
        except BaseException as error:  # a user's validator may raise anything
            return _interrupted(error) or _Failed(invalid("input", error))
        context = StepContext(self._attempt, self._progress)
        try:
            output = await (job.run(context, input) if job.takes_input else job.run(context))
        except BaseException as error:  # whatever a job raises ends the job, never the engine, being stopped included
            return _interrupted(error) or _Failed(run_error(error.error if isinstance(error, TaskExit) else error))
        try:
            return _Completed(job.output_schema.to_json(job.output_schema.validate(output)))
        except BaseException as error:
            return _interrupted(error) or _Failed(invalid("output", error))

    async def _write_end(self, outcome: _Completed | _Failed) -> None:
        """Write the run's end, or else why it cannot be written, with less and less detail."""
        if isinstance(outcome, _Completed):
            try:
                return await self._complete(outcome.output)
            except Exception as error:  # it cannot be encoded, or the store refuses it for ever
                outcome = _Failed(invalid("output", error))
        for reason in (outcome.error, without_details(outcome.error), LAST_RESORT):
            try:
                return await self._fail(reason)
            except Exception as error:
                refusal = error
        self._attempt.report(refusal, "run-failure")

    async def _complete(self, output: JsonValue) -> None:
        run, keep = self.run, self._options.preserve_steps
        attempt = self._attempt
        if not await attempt.end_run(
            lambda: self._store.complete_run(run.id, run.lease_generation, output, attempt.now(), keep_steps=keep),
            "completed",
        ):
            await self._tell_of_refusal("run-completion")
            return
        duration = self._environment.monotonic() - self._started
        self._emitter.emit(RunComplete(**attempt.fields, output=output, duration=round(duration)))

    async def _fail(self, error: RunError) -> None:
        run, keep = self.run, self._options.preserve_steps
        attempt = self._attempt
        if not await attempt.end_run(
            lambda: self._store.fail_run(run.id, run.lease_generation, error, attempt.now(), keep_steps=keep),
            "failed",
        ):
            await self._tell_of_refusal("run-failure")
            return
        self._emitter.emit(
            RunFail(**attempt.fields, error=error.message, failed_step_name=attempt.failed_step_name or "unknown")
        )

    async def _tell_of_refusal(self, context: ErrorContext) -> None:
        reason = await self._attempt.refused()
        if isinstance(reason, LeaseLost):  # whoever cancelled the run knows of it
            self._attempt.report(reason, context)

    async def _keep_lease(self) -> None:
        # a job that is busy from its start lets nothing else begin
        since = self._environment.monotonic() - self._renewed
        pause = max(0, self._options.lease_renew_interval_ms - round(since))
        while True:
            await self._clock.sleep(pause)
            if self._attempt.stopped is not None:
                return
            await self._renew_lease()
            pause = self._options.lease_renew_interval_ms

    async def _renew_lease(self) -> None:
        run, lease_ms = self.run, self._options.lease_ms
        now = self._clock.now()
        try:
            renewed = await self._store.renew_lease(run.id, run.lease_generation, to_iso(now), lease_ms)
            reason = None if renewed else await self._attempt.refused()
        except Exception as error:  # whatever it is, the job goes on, unless it will be so for ever
            self._note_failed_renewal(error)
            return
        self._note_renewal(now)
        self._renewal_fails = False
        if reason is not None:
            self._attempt.report(reason, "lease-renewal")
            self.stop(reason)
            return
        self._emitter.emit(
            RunLeaseRenewed(
                **self._attempt.fields,
                lease_owner=run.lease_owner or "",
                lease_expires_at=add_ms(to_iso(now), lease_ms),
            )
        )

    def _note_renewal(self, now: datetime) -> None:
        self._renewed_at, self._renewed = now, self._environment.monotonic()

    def _note_failed_renewal(self, error: Exception) -> None:
        is_final = isinstance(error, StoreError) and error.is_final
        if is_final or not (self._renewal_fails or self.waits_for_store):  # one report an outage
            self._attempt.report(error, "lease-renewal")
        self._renewal_fails = True
        if is_final:
            self.stop(LeaseLost(message_of(error)))

    async def _release(self) -> None:
        try:
            await self._store.release_lease(self.run.id, self.run.lease_generation, self._attempt.now())
        except Exception as error:  # the lease expires
            self._attempt.report(error, "store")


def _worker_cancelled() -> LeaseLost:
    return LeaseLost("The worker was cancelled")


def _interrupted(error: BaseException) -> _Interrupted | None:
    interrupt = interrupt_in(error)
    return None if interrupt is None else _Interrupted(interrupt)
