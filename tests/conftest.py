"""What the engine's tests start from: an engine over memory, a clock that only the test moves, and its events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import pytest

from durably_wasm import Durably, Event, JobDefinition, Run, create_durably
from durably_wasm.stores import MemoryStore, Store
from durably_wasm.testing import FakeClock

pytest.register_assert_rewrite("contract")

T = TypeVar("T")
Hook = Callable[[], Awaitable[object]]
Record = Callable[[Durably], list[Event]]
Settle = Callable[[], Awaitable[None]]
Interrupt = Callable[[Durably], Awaitable[None]]
Intercept = Callable[[Store], "InterceptedStore"]

_TURNS = 100  # of the event loop: more than anything over memory takes to come to rest


class Engine(Protocol):
    def __call__(self, *jobs: JobDefinition[Any, Any], store: Store | None = None, **options: Any) -> Durably: ...


class Execute(Protocol):
    async def __call__(
        self, job: JobDefinition[Any, Any], input: object = None, **options: Any
    ) -> tuple[Run, list[Event]]: ...


class AtOnce(Protocol):
    async def __call__(self, work: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def engine(store: MemoryStore, clock: FakeClock) -> Engine:
    """Make an engine over the test's store, or another one; each job is registered under its name."""
    default = store

    def make(*jobs: JobDefinition[Any, Any], store: Store | None = None, **options: Any) -> Durably:
        return create_durably(store or default, clock=clock, jobs={job.name: job for job in jobs}, **options)

    return make


@pytest.fixture
def record() -> Record:
    """Keep the events that an engine emits from now on."""

    def keep(durably: Durably) -> list[Event]:
        events: list[Event] = []
        durably.on("*", events.append)
        return events

    return keep


@pytest.fixture
def execute(engine: Engine, record: Record, at_once: AtOnce) -> Execute:
    """Trigger a run on an engine of its own, execute it, and return how it ended and what happened."""

    async def run_to_end(job: JobDefinition[Any, Any], input: object = None, **options: Any) -> tuple[Run, list[Event]]:
        durably = engine(job, **options)
        events = record(durably)
        triggered = await durably.jobs[job.name].trigger(input)
        assert await at_once(durably.process_one())
        run = await durably.get_run(triggered.id)
        assert run is not None
        return run, events

    return run_to_end


@pytest.fixture
def settle() -> Settle:
    """Let everything run that does not wait for the clock or the test."""
    return _settle


@pytest.fixture
def at_once() -> AtOnce:
    """Return what some work comes to; it must get there without the clock being moved."""

    async def result_of(work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        await _settle()
        if not task.done():
            task.cancel()
            await _settle()
            pytest.fail(f"{work!r} is still waiting")
        return task.result()

    return result_of


@pytest.fixture
def interrupt() -> Interrupt:
    """Execute a run as far as it goes, and cancel the worker there: the lease is given back, for the next one."""

    async def until_it_waits(durably: Durably) -> None:
        task = asyncio.create_task(durably.process_one())
        await _settle()
        task.cancel()
        await _settle()
        assert task.cancelled()

    return until_it_waits


@pytest.fixture
def intercept() -> Intercept:
    """Wrap a store, to hold, watch or fail some of its calls."""
    return InterceptedStore


class InterceptedStore:
    """The store that it wraps, but for the hooks of a test: each is awaited once, before or after a call."""

    def __init__(self, store: Store) -> None:
        self.calls: list[str] = []
        self._store = store
        self._before: defaultdict[str, list[Hook]] = defaultdict(list)
        self._after: defaultdict[str, list[Hook]] = defaultdict(list)

    def before(self, call: str, *hooks: Hook) -> None:
        self._before[call] += hooks

    def after(self, call: str, *hooks: Hook) -> None:
        self._after[call] += hooks

    def __getattr__(self, call: str) -> Callable[..., Awaitable[object]]:
        method = getattr(self._store, call)

        async def intercepted(*args: object, **kwargs: object) -> object:
            self.calls.append(call)
            if self._before[call]:
                await self._before[call].pop(0)()
            result = await method(*args, **kwargs)
            if self._after[call]:
                await self._after[call].pop(0)()
            return result

        return intercepted


async def _settle() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
