"""Durable execution in Python that lives in a browser tab, and on CPython just the same.

A *job* is a named function with a typed input and output (`define_job`). A *run* is one execution of it
(`create_durably`, `JobHandle.trigger`). Inside it every *step* is checkpointed (`StepContext.run`): its result is kept
in a *store*, and a run that was interrupted goes on at its first unfinished step.

To read the source, follow a run: `handle`, `triggering`, `stores.base`, `worker`, `durably`, `execution`, `attempt`,
`step`, `transitions`, `events`.
"""

from durably_wasm.clock import Clock
from durably_wasm.creating import create_durably
from durably_wasm.durably import Durably, Plugin
from durably_wasm.errors import (
    ConflictError,
    DurablyError,
    LeaseLost,
    NotFoundError,
    RunCancelled,
    RunCancelledError,
    RunFailedError,
    StopExecution,
    StoreError,
    ValidationError,
    WaitTimeoutError,
)
from durably_wasm.events import (
    Event,
    LogWrite,
    RunCancel,
    RunCoalesced,
    RunComplete,
    RunDelete,
    RunEvent,
    RunFail,
    RunLeased,
    RunLeaseRenewed,
    RunProgress,
    RunTrigger,
    StepCancel,
    StepComplete,
    StepEvent,
    StepFail,
    StepStart,
    WorkerError,
    is_domain_event,
)
from durably_wasm.handle import JobHandle
from durably_wasm.job import JobDefinition, define_job
from durably_wasm.models import Log, Progress, Run, RunFilter, Step, TriggerItem, TriggerResult, WaitResult
from durably_wasm.plugins import with_log_persistence
from durably_wasm.step import StepContext

__all__ = [
    "Clock",
    "ConflictError",
    "Durably",
    "DurablyError",
    "Event",
    "JobDefinition",
    "JobHandle",
    "LeaseLost",
    "Log",
    "LogWrite",
    "NotFoundError",
    "Plugin",
    "Progress",
    "Run",
    "RunCancel",
    "RunCancelled",
    "RunCancelledError",
    "RunCoalesced",
    "RunComplete",
    "RunDelete",
    "RunEvent",
    "RunFail",
    "RunFailedError",
    "RunFilter",
    "RunLeaseRenewed",
    "RunLeased",
    "RunProgress",
    "RunTrigger",
    "Step",
    "StepCancel",
    "StepComplete",
    "StepContext",
    "StepEvent",
    "StepFail",
    "StepStart",
    "StopExecution",
    "StoreError",
    "TriggerItem",
    "TriggerResult",
    "ValidationError",
    "WaitResult",
    "WaitTimeoutError",
    "WorkerError",
    "create_durably",
    "define_job",
    "is_domain_event",
    "with_log_persistence",
]
