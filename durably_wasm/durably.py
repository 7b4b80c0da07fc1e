"""The engine: puts store, jobs, worker and events together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from durably_wasm.clock import Breather, Clock, monotonic_of
from durably_wasm.environment import Environment
from durably_wasm.errors import ConflictError, NotFoundError, RunCancelled, StoreError, ValidationError
from durably_wasm.events import Emitter, ErrorContext, ErrorListener, Event, Listener, RunCancel
from durably_wasm.handle import JobHandle, Jobs
from durably_wasm.ids import new_worker_id
from durably_wasm.job import JobDefinition
from durably_wasm.maintenance import Maintenance
from durably_wasm.managing import delete_run, existing, outcome_of, purge_runs
from durably_wasm.models import Log, OneOrMore, Run, RunFilter, Step
from durably_wasm.options import GRACE_MS, Options, patience
from durably_wasm.processing import Processing
from durably_wasm.room import with_room
from durably_wasm.schema import UNDECLARED, schema_of
from durably_wasm.slots import Slots, occupied_slot
from durably_wasm.stores import Store
from durably_wasm.stores.calls import ENQUEUED
from durably_wasm.subscribing import subscribe
from durably_wasm.triggering import Triggering
from durably_wasm.waiting import OnLog, OnProgress, wait_for_run
from durably_wasm.worker import Worker


class Plugin(Protocol):
    """Something that extends an engine; see `Durably.use`."""

    name: str

    def install(self, durably: Durably) -> None:
        """Subscribe to what the plugin needs."""
        ...


class Durably:
    """One engine; made by `create_durably`.

    Attributes:
        jobs: The registered jobs' handles, ``durably.jobs.import_csv`` or ``durably.jobs["import_csv"]``.
        store: The store it was made over.
        worker_id: The owner of this engine's leases, unique per start.
        epoch: The store's epoch that this engine lives in; None for an engine that is not `exclusive`.
        failure: Why the engine ended by itself: the store will never take its calls again. None while it may.
    """

    def __init__(self, store: Store, clock: Clock, options: Options, labels: Any) -> None:
        self.store = store
        self.epoch: int | None = None
        self.failure: StoreError | None = None
        self.worker_id = new_worker_id(self.epoch)
        self._clock = clock
        self._options = options
        self._emitter = Emitter(clock)
        self._environment = Environment(
            store=store,
            clock=clock,
            emitter=self._emitter,
            options=options,
            breather=Breather(),
            end=self._end,
            monotonic=monotonic_of(clock),
            slots=Slots(lambda: self._worker.fill()),
        )
        self._handles: dict[str, JobHandle[Any, Any]] = {}
        self._by_name: dict[str, JobHandle[Any, Any]] = {}
        self._migration: asyncio.Task[None] | None = None
        self._maintenance = Maintenance(self._environment)
        self.jobs = Jobs(self._handles)
        self._processing = Processing(self._environment, self._by_name, wake=lambda: self._worker.wake())
        self._worker = Worker(
            self._process_one,
            lambda: self._maintenance.run(self._by_name),
            clock=clock,
            monotonic=self._environment.monotonic,
            polling_interval_ms=options.polling_interval_ms,
            size=options.max_concurrent_runs,
            slots=self._environment.slots,
            waits_for_store=lambda: self._processing.waits_for_store,
            report=lambda error: self.report(error, "store" if getattr(error, "is_full", False) else "claim"),
        )
        schema = schema_of(UNDECLARED if labels is None else labels)
        self._triggering = Triggering(self._environment, schema, self._worker.wake)

    def register(self, jobs: Mapping[str, JobDefinition[Any, Any]]) -> Self:
        """Register jobs, each under a key of the caller's choice, and return this engine.

        Raises:
            ConflictError: Another job is registered under the name of one of them.
            ValidationError: A value is not a `JobDefinition`.
        """
        by_name = dict(self._by_name)
        for key, job in jobs.items():
            if not isinstance(job, JobDefinition):
                raise ValidationError(f"jobs[{key!r}] must be made by define_job, not {job!r}")
            handle = by_name.setdefault(job.name, JobHandle(job, self._environment, self._triggering))
            if handle.definition is not job:
                raise ConflictError(f"A different job is already registered as {job.name!r}")
        self._by_name.update(by_name)
        self._handles.update({key: by_name[job.name] for key, job in jobs.items()})
        self._worker.wake()
        return self

    def get_job(self, name: str) -> JobHandle[Any, Any] | None:
        """Return the handle of a job by its name, or None."""
        return self._by_name.get(name)

    async def init(self) -> None:
        """Prepare the store and start the worker."""
        await self.migrate()
        self.start()

    async def migrate(self) -> None:
        """Open the store and bring its schema up to date; callers at the same time share one migration.

        Raises:
            StoreError: The store cannot be opened.
        """
        if self._migration is None or (self._migration.done() and self._migration.exception() is not None):
            self._migration = asyncio.create_task(self._migrate())
        await asyncio.shield(self._migration)

    def start(self, worker_id: str | None = None) -> None:
        """Start to claim and execute runs, in the background; harmless when started."""
        if not self._worker.is_running:
            self.worker_id = worker_id or new_worker_id(self.epoch)
            self._worker.start()

    async def stop(self) -> None:
        """Claim nothing more, and return when the runs in flight have ended; they are not aborted.

        A run that waits for one that is not in flight gives its lease back instead.

        Raises:
            ConflictError: A job of this engine, or a task that it has started, calls this: it would wait for itself.
        """
        self._check_not_inside("stop")
        await self._worker.stop()
        await self._emitter.drain()

    async def hand_over(self) -> None:
        """Claim nothing more, let the steps that are running end, and give the runs' leases back.

        Another engine goes on with these runs at their next step.

        Raises:
            ConflictError: A job of this engine calls this.
        """
        self._check_not_inside("hand over")
        self._worker.end_claims(keeps_runs=False)
        await self._processing.pause()
        await self._worker.cancel()
        await self._emitter.drain()

    async def __aenter__(self) -> Self:
        """Start, as `init` does."""
        await self.init()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and close the store."""
        await self.stop()
        await self.store.close()

    async def process_one(self, worker_id: str | None = None) -> bool:
        """Claim a run and execute it to its end; say whether there was one.

        While that run waits for another one, further runs that are due are executed, to their ends too. Cancelling this
        stops the job and gives the run's lease back.

        Raises:
            StoreError: The claim failed, or `failure`.
            KeyboardInterrupt: The job was interrupted; its run's lease was given back.
        """
        try:
            processed = await self._process_one(worker_id)
        except (asyncio.CancelledError, KeyboardInterrupt):
            if not self._worker.is_running:
                await self._worker.cancel_loops()
            raise
        if not self._worker.is_running and occupied_slot(self._environment.slots) is None:
            await self._worker.finish_lent()
        return processed

    async def process_until_idle(self, worker_id: str | None = None, max_runs: int | None = None) -> int:
        """Process runs one after another until none is due, or `max_runs` were; return how many.

        Runs that were executed while another waited for them count too, and `max_runs` may be exceeded by them.
        """
        count = 0
        while max_runs is None or count < max_runs:
            before = self._processing.processed
            if not await self.process_one(worker_id):
                await self._maintenance.run(self._by_name)
                break
            count += 1 if self._worker.is_running else self._processing.processed - before
        return count

    def on(self, type: str, listener: Listener) -> Callable[[], None]:
        """Call `listener(event)` for each event of a type, or of every type for ``"*"``; see `durably_wasm.events`.

        Returns:
            A function that ends the subscription.

        Raises:
            ValidationError: There is no such type.
        """
        return self._emitter.on(type, listener)

    def emit(self, event: Event) -> None:
        """Stamp an event with time and sequence, and tell the listeners."""
        self._emitter.emit(event)

    def report(self, error: BaseException, context: ErrorContext, run_id: str | None = None) -> None:
        """Emit ``worker:error``; an error that says that the store will never take a call again ends the engine."""
        self._environment.report(error, context, run_id)

    def on_error(self, listener: ErrorListener) -> None:
        """Call `listener(error, event)` when a listener fails; the last one set wins."""
        self._emitter.on_error(listener)

    def use(self, plugin: Plugin) -> Self:
        """Install a plugin and return this engine."""
        plugin.install(self)
        return self

    def before_end(self, hook: Callable[[str], Awaitable[None]]) -> None:
        """Await ``hook(run_id)`` when a job has ended, before its run's end is written; an error fails the run."""
        self._processing.before_end.append(hook)

    def on_abandoned(self, listener: Callable[[str], object]) -> None:
        """Call ``listener(run_id)`` whenever a stopped job has swallowed its cancellation; its code may still run."""
        self._processing.on_abandoned.append(listener)

    async def get_run(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        return await self.store.get_run(run_id)

    async def get_runs(
        self,
        *,
        status: OneOrMore = None,
        job_name: OneOrMore = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Run]:
        """Return the runs that match, newest first.

        A list matches any of its members, None or an empty list everything; all `labels` must be there.
        """
        return await self.store.get_runs(RunFilter(status, job_name, labels, limit, offset))

    async def get_steps(self, run_id: str) -> list[Step]:
        """Return a run's stored steps by index; those of an ended run are gone, unless `preserve_steps`."""
        return await self.store.get_steps(run_id)

    async def get_logs(self, run_id: str) -> list[Log]:
        """Return a run's stored log lines in the order they were written; see `with_log_persistence`."""
        return await self.store.get_logs(run_id)

    async def retrigger(self, run_id: str, *, call_id: str | None = None) -> Run:
        """Trigger an ended run again and return the new run: same input, labels and concurrency key.

        Raises:
            NotFoundError: There is no such run, or its job is not registered.
            ConflictError: It has not ended, or a pending run has its concurrency key.
            ValidationError: Its input does not fit the job any more.
        """
        if outcome := await outcome_of(self._environment, call_id):
            return ENQUEUED.read(outcome)[0].run
        run = await existing(self._environment, run_id)
        handle = self._by_name.get(run.job_name)
        if handle is None:
            raise NotFoundError(f"Cannot retrigger run {run_id}: no job {run.job_name!r} is registered")
        new = await self._triggering.repetition(run, handle.definition)
        return (await self._triggering.enqueue(new, call_id)).run

    async def delete_run(self, run_id: str, *, call_id: str | None = None) -> None:
        """Delete an ended run with its steps, logs and labels.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It has not ended.
        """
        await delete_run(self._environment, run_id, call_id)

    async def purge_runs(self, older_than: datetime, limit: int = 500, *, call_id: str | None = None) -> int:
        """Delete up to `limit` runs that ended before a time, oldest first, without events; return how many.

        Raises:
            ValidationError: The time has no time zone, or the limit is no integer of at least 0.
        """
        return await purge_runs(self._environment, older_than, limit, call_id)

    async def cancel(self, run_id: str, *, grace_ms: float | None = GRACE_MS, call_id: str | None = None) -> None:
        """Cancel a pending or leased run, at once; its job is stopped wherever it awaits.

        A job of this engine that swallows that is abandoned after `grace_ms` milliseconds: another run gets its slot,
        and its later steps raise. None: it is waited for.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It has ended.
            ValidationError: `grace_ms` is no integer of at least 0.
        """
        grace = patience("grace_ms", grace_ms)
        if await outcome_of(self._environment, call_id):
            return
        now, keep = self._environment.now, self._options.preserve_steps
        cancelled = await with_room(
            self._environment, lambda: self.store.cancel_run(run_id, now(), keep_steps=keep, call_id=call_id)
        )
        run = await existing(self._environment, run_id)
        if not cancelled:
            raise ConflictError(f"Cannot cancel run {run_id}: it is {run.status}")
        self._processing.stop(run_id, RunCancelled(f"Run {run_id} was cancelled"), grace)
        self._emitter.emit(RunCancel(run_id=run.id, job_name=run.job_name, labels=dict(run.labels)))
        self._worker.wake()

    async def report_crash(self, run_ids: Collection[str], reason: str, *, call_id: str | None = None) -> None:
        """Tell that Python has died while it executed these runs; one that gets no further for it will fail."""
        if not await outcome_of(self._environment, call_id):
            await self._processing.report_crash(run_ids, reason, call_id)

    async def wait_for_run(
        self,
        run_id: str,
        *,
        timeout_ms: float | None = None,
        polling_interval_ms: int | None = None,
        on_progress: OnProgress | None = None,
        on_log: OnLog | None = None,
    ) -> Run:
        """Return a run once it is completed; at once when it is already.

        A job of this engine that waits lends its slot meanwhile, so that the run can be executed in it.

        Args:
            run_id: The run to wait for.
            timeout_ms: How long to wait at most; None or infinity: for ever.
            polling_interval_ms: How often to look, for what another process does; None: as often as the worker.
            on_progress: Called with each `Progress` from now on.
            on_log: Called with each `LogWrite` from now on.

        Raises:
            RunFailedError: It failed; carries the run.
            RunCancelledError: It was cancelled.
            NotFoundError: There is no such run, or it was deleted meanwhile.
            WaitTimeoutError: It did not end in time.
            ConflictError: It cannot end before the job that waits: it waits for this one's run, or needs its key.
            ValidationError: A duration is wrong; the message names it.
        """
        return await wait_for_run(
            self._environment,
            run_id,
            timeout_ms=timeout_ms,
            polling_interval_ms=polling_interval_ms,
            on_progress=on_progress,
            on_log=on_log,
        )

    def subscribe(self, run_id: str) -> AsyncIterator[Event]:
        """Follow a run: first where it is now (``sequence`` 0), then every event of it, until it has ended.

        Raises:
            NotFoundError: There is no such run; at the first iteration.
        """
        return subscribe(self._environment, run_id)

    async def _process_one(self, worker_id: str | None = None) -> bool:
        if self.failure is not None:  # a claim might succeed all the same, and its run could not go on
            raise self.failure
        return await self._processing.process_one(worker_id or self.worker_id, self.epoch)

    def _check_not_inside(self, what: str) -> None:
        if slot := occupied_slot(self._environment.slots):
            raise ConflictError(f"Cannot {what} inside a job: run {slot.run.id} would wait for its own end")

    async def _migrate(self) -> None:
        await self.store.migrate()
        if self._options.exclusive:
            self.epoch = await self.store.advance_epoch()
            self.worker_id = new_worker_id(self.epoch)

    def _end(self, reason: StoreError) -> None:
        self.failure = self.failure or reason
        self._worker.wake()  # to its last claim, which raises the reason
