"""The test server: a built site, a journal of the steps that ran, and gates that hold a step or a file until opened."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from durably_wasm.cli.serving import ASK_EACH_TIME, site_app

PATIENCE_S = 120  # a browser that shares its cores with another test starts Python slowly, WebKit above all


class Server:
    """Serves one built site on a free port, in a thread of its own, with these headers in every answer."""

    def __init__(
        self, site: Path, headers: Sequence[tuple[str, str]] = (), *, cache_control: str = ASK_EACH_TIME
    ) -> None:
        self._entries: list[str] = []
        self._news = threading.Condition()
        self._gates: dict[str, asyncio.Event] = {}
        self._held: set[str] = set()
        self._answers: dict[str, ASGIApp] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        app = Starlette(
            routes=[
                Route("/journal", self._write, methods=["POST"]),
                Route("/gate/{name:path}", self._pass),
                Mount("/", self._serve),
            ]
        )
        self._site = site_app(site, cache_control)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(app, headers=[*headers], log_level="warning", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._uvicorn.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def stop(self) -> None:
        self.begin_anew()
        self._uvicorn.should_exit = True
        self._thread.join()

    def begin_anew(self) -> None:
        """Open all gates and forget what is in the journal."""
        for gate in list(self._gates):
            self.open_gate(gate)
        with self._news:
            self._entries.clear()
            self._held.clear()

    def close_gate(self, name: str) -> None:
        """Hold whatever comes to this gate, or asks for the file of this path, from now on."""
        self._gates[name] = asyncio.Event()

    def open_gate(self, name: str) -> None:
        """Let through what waits at this gate, if it is closed."""
        gate = self._gates.pop(name, None)
        if gate is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(gate.set)

    def answer(self, path: str, response: ASGIApp) -> None:
        """Answer like this from now on when the file of this path is asked for."""
        self._answers[path] = response

    def wait_for(self, entry: str, times: int = 1) -> None:
        """Return once the journal has an entry that many times."""
        with self._news:
            if not self._news.wait_for(lambda: self._entries.count(entry) >= times, PATIENCE_S):
                raise TimeoutError(f"{entry!r} is not in the journal {times} times: {self._entries}")

    def wait_for_any(self, entries: Sequence[str]) -> str:
        """Return the first of these that the journal has, once there is one."""
        with self._news:
            if not self._news.wait_for(lambda: not set(entries).isdisjoint(self._entries), PATIENCE_S):
                raise TimeoutError(f"None of {entries} is in the journal: {self._entries}")
            return next(entry for entry in self._entries if entry in entries)

    def wait_at(self, gate: str) -> None:
        """Return once something is held at a gate."""
        with self._news:
            if not self._news.wait_for(lambda: gate in self._held, PATIENCE_S):
                raise TimeoutError(f"Nothing came to the gate {gate!r}, but to {self._held}")

    def journal(self, label: str) -> dict[str, int]:
        """How often each step of a run ran."""
        with self._news:
            return dict(Counter(entry for entry in self._entries if entry.startswith(f"{label}/")))

    def entries(self, prefix: str) -> list[str]:
        """The journal's entries that begin like this, in the order in which they came."""
        with self._news:
            return [entry for entry in self._entries if entry.startswith(prefix)]

    async def _write(self, request: Request) -> Response:
        entry = (await request.body()).decode()
        with self._news:
            self._entries.append(entry)
            self._news.notify_all()
        return Response(status_code=204)

    async def _pass(self, request: Request) -> Response:
        await self._wait_at(request.path_params["name"])
        return Response(status_code=204)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/")
        await self._wait_at(path)
        await self._answers.get(path, self._site)(scope, receive, send)

    async def _wait_at(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        gate = self._gates.get(name)
        if gate is not None:
            with self._news:
                self._held.add(name)
                self._news.notify_all()
            await gate.wait()
