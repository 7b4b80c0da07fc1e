"""Firefox, by WebDriver BiDi: it speaks that protocol itself, so that no driver program stands between.

https://w3c.github.io/webdriver-bidi/
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from websocket import WebSocketException

from e2e.engines.base import EngineError, as_json, connected, from_json, kill_group, version_of

ADDRESS = "WebDriverBiDiServer.json"  # where Firefox writes which port it listens on

ENDED = "uncaught exception: undefined"  # told of a worker that was ended in the middle of a synchronous request

PREFERENCES = {
    "browser.sessionstore.resume_from_crash": False,
    "toolkit.startup.max_resumed_crashes": -1,  # no safe mode after kills
}


class Firefox:
    """Firefox ESR, without a window."""

    name = "firefox"
    keeps_profile = True

    @staticmethod
    @cache
    def version() -> str | None:
        number = version_of("firefox-esr")
        return number and f"Firefox ESR {number.removesuffix('esr')}"

    def __init__(self, profile: Path) -> None:
        self.troubles: list[str] = []
        self._process = _start(profile)
        self._commands = 0
        self.tabs: set[str] = set()
        self._loaded: set[str] = set()  # the tabs that have loaded a page
        try:
            self._socket = connected(self._process, lambda: _address_in(profile / ADDRESS))
            self.command("session.new", capabilities={})
            self.command("session.subscribe", events=["log.entryAdded", "browsingContext.load"])
            self._tab = FirefoxTab(self, self.command("browsingContext.getTree")["contexts"][0]["context"])
        except BaseException:
            kill_group(self._process)
            raise

    def open(self, url: str) -> None:
        self._tab.open(url)

    def evaluate(self, expression: str) -> object:
        return self._tab.evaluate(expression)

    def new_tab(self) -> FirefoxTab:
        context: str = self.command("browsingContext.create", type="tab")["context"]
        return FirefoxTab(self, context)

    def kill(self) -> None:
        with suppress(WebSocketException, OSError):
            self.command("session.status")  # what it told until now comes before the answer
        kill_group(self._process)
        self._socket.shutdown()

    def command(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and return its result; EngineError when Firefox refuses it."""
        self._commands += 1
        self._socket.send(json.dumps({"id": self._commands, "method": method, "params": params}))
        while (message := self._receive()).get("id") != self._commands:
            pass
        if message["type"] == "error":
            raise EngineError(f"{method}: {message['message']}")
        result: dict[str, Any] = message["result"]
        return result

    @contextmanager
    def loading(self, context: str) -> Iterator[None]:
        """Load a page in a tab; return once it is loaded."""
        self._loaded.discard(context)
        yield
        while context not in self._loaded:
            self._receive()

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        if message.get("method") == "browsingContext.load":
            self._loaded.add(message["params"]["context"])
        elif message.get("method") == "log.entryAdded":
            self._note(message["params"])
        return message

    def _note(self, entry: dict[str, Any]) -> None:
        """Firefox's own pages tell of themselves too, and of those nothing is asked."""
        if entry["text"] == ENDED or entry["level"] != "error":
            return
        if entry["source"].get("context") in self.tabs:
            self.troubles.append(f"{entry['type']}: {entry['text']}")


class FirefoxTab:
    """A tab of Firefox."""

    def __init__(self, browser: Firefox, context: str) -> None:
        self._browser = browser
        self._context = context
        browser.tabs.add(context)

    def open(self, url: str) -> None:
        with self._browser.loading(self._context):
            self._browser.command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> object:
        answer = self._browser.command(
            "script.evaluate", expression=as_json(expression), target={"context": self._context}, awaitPromise=True
        )
        if answer["type"] == "exception":
            raise EngineError(answer["exceptionDetails"]["text"])
        return from_json(answer["result"].get("value"))

    def run_and_reload(self, script: str) -> None:
        with self._browser.loading(self._context), suppress(EngineError):  # the page may be gone before it can answer
            self.evaluate(f"(() => {{ {script}; location.reload(); }})()")

    def close(self) -> None:
        self._browser.command("browsingContext.close", context=self._context)


def _start(profile: Path) -> subprocess.Popen[bytes]:
    profile.mkdir(exist_ok=True)
    (profile / ADDRESS).unlink(missing_ok=True)  # of a Firefox that was killed
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    return subprocess.Popen(
        ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
        env={**os.environ, "HOME": str(profile)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _address_in(file: Path) -> str:
    at = json.loads(file.read_text())
    return f"ws://{at['ws_host']}:{at['ws_port']}/session"
