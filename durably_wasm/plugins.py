"""What an engine can be extended with; see `Durably.use`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial

from durably_wasm.durably import Durably
from durably_wasm.events import LogWrite
from durably_wasm.models import NewLog


def with_log_persistence() -> LogPersistence:
    """Store the log lines of jobs, so that `Durably.get_logs` has them: ``durably.use(with_log_persistence())``."""
    return LogPersistence()


class LogPersistence:
    """Writes each run's lines in order, all of them before the run's terminal event.

    A line that cannot be stored is reported by ``worker:error`` and does not disturb the run.
    """

    name = "log-persistence"

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[LogWrite]] = defaultdict(list)
        self._writers: dict[str, asyncio.Task[None]] = {}

    def install(self, durably: Durably) -> None:
        """Listen to log lines, and hold a run's end until they are stored."""
        durably.on("log:write", partial(self._keep, durably))
        durably.before_end(self._written)

    def _keep(self, durably: Durably, line: LogWrite) -> None:
        self._lines[line.run_id].append(line)
        if line.run_id not in self._writers:
            self._writers[line.run_id] = asyncio.create_task(self._write(durably, line.run_id))

    async def _written(self, run_id: str) -> None:
        if writer := self._writers.get(run_id):
            await asyncio.wait({writer})

    async def _write(self, durably: Durably, run_id: str) -> None:
        try:
            while lines := self._lines.pop(run_id, None):
                for line in lines:
                    await self._store(durably, line)
        finally:
            del self._writers[run_id]

    async def _store(self, durably: Durably, line: LogWrite) -> None:
        log = NewLog(line.run_id, line.step_name, line.level, line.message, data=line.data, created_at=line.timestamp)
        try:
            await durably.store.create_log(log)
        except Exception as error:  # whatever it is, it takes no other line with it
            durably.report(error, "log", line.run_id)
