"""The host: answers the page's calls and forwards events. Knows nothing of storage.

`web/shared/protocol.js` lists the calls and the messages; a test keeps those that need Python equal to `Host.METHODS`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from durably_wasm.browser.bridge import IndexedDbDriver, IndexedDbStore, WaSqliteDriver, WaSqliteStore
from durably_wasm.browser.messages import (
    error_to_message,
    snake_case_options,
    snake_case_trigger_options,
    to_message,
)
from durably_wasm.browser.modules import load_jobs
from durably_wasm.cancellation import start
from durably_wasm.clock import SystemClock
from durably_wasm.creating import create_durably
from durably_wasm.durably import Durably
from durably_wasm.errors import NotFoundError, ValidationError
from durably_wasm.events import Event, WorkerError
from durably_wasm.handle import JobHandle
from durably_wasm.models import EnqueueResult, TriggerItem
from durably_wasm.options import GRACE_MS
from durably_wasm.plugins import with_log_persistence
from durably_wasm.progress_frames import ProgressFrames
from durably_wasm.stores import SqliteStore, Store, calls, migrations
from durably_wasm.stores.adoption import adopt

Params = Mapping[str, Any]

_LEAST_GRACE_MS = 300  # that a job's cleanup takes turns of the event loop, and of the database, is no reason to end it

STORES: dict[str, Callable[..., Store]] = {"indexeddb": IndexedDbStore, "sqlite": WaSqliteStore}


class Host:
    """One engine for one page's worker.

    `post(text)` sends the JSON of a message, `enter(stage)` tells the stage of the boot, and `fail(text)` ends the
    worker with the JSON of an error. `replace()` has the page put another worker in the place of this one, in which an
    abandoned job may go on for ever.
    """

    def __init__(
        self,
        post: Callable[[str], None],
        enter: Callable[[str], None],
        fail: Callable[[str], None],
        replace: Callable[[], None],
    ) -> None:
        self._post = post
        self._enter = enter
        self._fail = fail
        self._replace = replace
        self._progress = ProgressFrames(self._post_event, SystemClock())
        self._durably: Durably | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._applying: dict[str, asyncio.Event] = {}

    async def open(self, params: str, modules: str) -> str:
        """Open the store and load the jobs; to be called under the database's lock.

        All that the store named by `adopts` holds is moved first; `givenUp` says what did not stay as it was.

        Returns:
            JSON, ``{epoch, givenUp}`` or ``{error}``.
        """
        given: Params = json.loads(params)
        try:
            given_up = await self._adopt(given) if given["adopts"] else ()
            durably = await self._create(given, json.loads(modules))
        except Exception as error:
            return json.dumps({"error": error_to_message(error)})
        self._durably = durably
        return json.dumps({"epoch": durably.epoch, "givenUp": [*given_up]})

    def start(self) -> None:
        """Start to work."""
        assert self._durably is not None
        self._durably.start()

    async def apply(self, text: str) -> str:
        """Take the JSON of a call that may have been applied before, and return that of its reply."""
        return json.dumps(await self._reply(text, again=True))

    async def known_calls(self) -> str:
        """Return JSON, the ids of the calls that the store knows."""
        assert self._durably is not None
        return json.dumps(await self._durably.store.get_call_ids())

    async def forget_calls(self, ids: str) -> None:
        """Forget calls that can come no more; `ids` is JSON."""
        assert self._durably is not None
        await self._durably.store.forget_calls(json.loads(ids))

    def report_rejection(self, method: str, message: str) -> None:
        """Tell of a call that was rejected when nobody was left to hear of it."""
        assert self._durably is not None
        self._durably.emit(WorkerError(error=f"A call of {method}() was rejected: {message}", context="outbox"))

    def export_scripts(self) -> str:
        """Return JSON, the scripts by which JavaScript exports a SQLite database of this version."""
        return json.dumps(migrations.export_scripts())

    def handle(self, text: str) -> None:
        """Take the JSON of a call, and post its reply in time."""
        task = start(self._answer(text))
        if not task.done():
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def stop(self) -> None:
        """Let the runs in flight end; calls are answered as ever."""
        if self._durably is not None:
            await self._durably.stop()

    async def close(self) -> None:
        """Answer the calls that were taken, and close the store."""
        while self._answering:
            await asyncio.wait(self._answering)
        if self._durably is not None:
            await self._durably.store.close()

    async def hand_over(self) -> None:
        """Let the steps that are running end, and leave their runs to the next engine."""
        assert self._durably is not None
        await self._durably.hand_over()

    async def _adopt(self, params: Params) -> Sequence[str]:
        """Move all rows to the engine's store; both commits wait for the disk, since the old store is emptied then."""
        self._enter("store")
        database = params["database"]
        sql, objects = WaSqliteDriver(database, "strict"), IndexedDbDriver(database, "strict")
        return (await adopt(params["store"], sql, objects)).given_up

    async def _create(self, params: Params, modules: list[dict[str, str]]) -> Durably:
        options = snake_case_options(params["options"])
        store = STORES[params["store"]](params["database"], params["durability"])
        durably = create_durably(store, exclusive=True, **options)
        durably.use(with_log_persistence()).on("*", self._forward)
        durably.on_abandoned(lambda run_id: self._replace())
        self._enter("store")
        await durably.migrate()
        self._enter("jobs")
        return durably.register(load_jobs(modules))

    async def _answer(self, text: str) -> None:
        self._post(json.dumps(await self._reply(text)))

    async def _reply(self, text: str, *, again: bool = False) -> dict[str, Any]:
        """Return the reply to the JSON of a call, whatever is wrong with the call and whatever a job's code raises."""
        call_id = None
        try:
            call = json.loads(text)
            call_id = call["id"]
            return {"type": "reply", "id": call_id, "result": await self._call_once(call, again=again)}
        except BaseException as error:  # a validator may call sys.exit, and no later call may wait for this one
            return {"type": "reply", "id": call_id, "error": error_to_message(error)}

    async def _call_once(self, call: Params, *, again: bool) -> object:
        """Apply a call; a copy that comes meanwhile waits, and then finds what the call has come to."""
        again = again or bool(call.get("again"))
        while (applying := self._applying.get(call["id"])) is not None:
            await applying.wait()
            again = True
        self._applying[call["id"]] = asyncio.Event()
        try:
            return await self._call(call, again=again)
        finally:
            self._applying.pop(call["id"]).set()

    async def _call(self, call: Params, *, again: bool) -> object:
        method = call["method"]
        if method not in self.METHODS:
            raise NotFoundError(f"The engine has no method {method!r}")
        assert self._durably is not None
        if again and method in self.OUTCOMES and (outcome := await self._durably.store.get_call(call["id"])):
            return self.OUTCOMES[method](outcome)
        return await self.METHODS[method](self, self._durably, {**call["params"], "call_id": call["id"]})

    def _post_event(self, event: Event) -> None:
        epoch = self._durably and self._durably.epoch
        self._post(json.dumps({"type": "event", "epoch": epoch, "event": to_message(event)}))

    def _forward(self, event: Event) -> None:
        self._progress.pass_on(event)
        if self._durably and self._durably.failure:
            self._fail(json.dumps(error_to_message(self._durably.failure)))

    async def _init(self, durably: Durably, _: Params) -> object:
        return {"jobs": {key: handle.name for key, handle in durably.jobs.items()}}

    async def _trigger(self, durably: Durably, params: Params) -> object:
        options = snake_case_trigger_options(params["options"])
        return to_message(
            await _handle(durably, params["job"]).trigger_json(params["input"], call_id=params["call_id"], **options)
        )

    async def _batch_trigger(self, durably: Durably, params: Params) -> object:
        items = [TriggerItem(item["input"], **snake_case_trigger_options(item["options"])) for item in params["items"]]
        return [
            to_message(run)
            for run in await _handle(durably, params["job"]).batch_trigger_json(items, call_id=params["call_id"])
        ]

    async def _cancel(self, durably: Durably, params: Params) -> object:
        grace_ms = params.get("graceMs", GRACE_MS)
        patience = None if grace_ms is None else max(round(grace_ms), _LEAST_GRACE_MS)
        await durably.cancel(_run_id(params), grace_ms=patience, call_id=params["call_id"])
        return None

    async def _retrigger(self, durably: Durably, params: Params) -> object:
        return to_message(await durably.retrigger(_run_id(params), call_id=params["call_id"]))

    async def _delete_run(self, durably: Durably, params: Params) -> object:
        await durably.delete_run(_run_id(params), call_id=params["call_id"])
        return None

    async def _purge_runs(self, durably: Durably, params: Params) -> object:
        older_than = datetime.fromisoformat(params["olderThan"])
        given = {name: params[name] for name in ("limit",) if name in params}
        return await durably.purge_runs(older_than, **given, call_id=params["call_id"])

    async def _report_crash(self, durably: Durably, params: Params) -> object:
        await durably.report_crash(params["runs"], params["reason"], call_id=params["call_id"])
        return None

    async def _import_database(self, durably: Durably, _: Params) -> object:
        assert isinstance(durably.store, SqliteStore)  # which has the file attached
        await durably.store.import_attached()
        return None

    METHODS: ClassVar[dict[str, Callable[[Host, Durably, Params], Awaitable[object]]]] = {
        "init": _init,
        "trigger": _trigger,
        "batchTrigger": _batch_trigger,
        "retrigger": _retrigger,
        "cancel": _cancel,
        "deleteRun": _delete_run,
        "purgeRuns": _purge_runs,
        "reportCrash": _report_crash,
        "importDatabase": _import_database,
    }

    # What is replied to a trigger that was applied before, made of what is kept of it: its input may not fit any more.
    OUTCOMES: ClassVar[dict[str, Callable[[str], object]]] = {
        "trigger": lambda outcome: _triggered(calls.ENQUEUED.read(outcome))[0],
        "batchTrigger": lambda outcome: _triggered(calls.ENQUEUED.read(outcome)),
    }


def _run_id(params: Params) -> str:
    """Return the run's id; IndexedDB takes no key of every type, and would refuse another for ever."""
    run_id = params["id"]
    if isinstance(run_id, str):
        return run_id
    raise ValidationError(f"A run's id must be text, not {run_id!r}")


def _triggered(results: list[EnqueueResult]) -> list[dict[str, Any]]:
    return [{**to_message(result.run), "disposition": result.disposition} for result in results]


def _handle(durably: Durably, job: Mapping[str, str]) -> JobHandle[Any, Any]:
    """Return the handle of the job that the page means, by its key or by its name."""
    handle = durably.jobs.get(job["key"]) if "key" in job else durably.get_job(job["name"])
    if handle is None:
        known = ", ".join(f"{key} ({handle.name!r})" for key, handle in durably.jobs.items())
        raise NotFoundError(f"No job is registered as {job.get('key', job.get('name'))!r}; there are: {known}")
    return handle
