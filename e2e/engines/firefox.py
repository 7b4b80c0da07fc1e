"""Firefox, by WebDriver BiDi: it speaks that protocol itself, so that no driver program stands between.

https://w3c.github.io/webdriver-bidi/
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from websocket import WebSocketException

from e2e.engines.base import EngineError, as_json, connected, from_json, kill_group, version_of

ADDRESS = "WebDriverBiDiServer.json"  # where Firefox writes which port it listens on

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
        try:
            self._socket = connected(self._process, lambda: _address_in(profile / ADDRESS))
            self._command("session.new", capabilities={})
            self._command("session.subscribe", events=["log.entryAdded"])
            self._tab: str = self._command("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            kill_group(self._process)
            raise

    def open(self, url: str) -> None:
        self._command("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> object:
        answer = self._command(
            "script.evaluate", expression=as_json(expression), target={"context": self._tab}, awaitPromise=True
        )
        if answer["type"] == "exception":
            raise EngineError(answer["exceptionDetails"]["text"])
        return from_json(answer["result"].get("value"))

    def kill(self) -> None:
        with suppress(WebSocketException, OSError):
            self._command("session.status")  # what it told until now comes before the answer
        kill_group(self._process)
        self._socket.shutdown()

    def _command(self, method: str, **params: object) -> dict[str, Any]:
        self._commands += 1
        self._socket.send(json.dumps({"id": self._commands, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._commands:
                break
            self._note(message["params"])
        if message["type"] == "error":
            raise EngineError(f"{method}: {message['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def _note(self, entry: dict[str, Any]) -> None:
        """Firefox's own pages tell of themselves too."""
        if entry["level"] == "error" and entry["source"].get("context") == self._tab:
            self.troubles.append(f"{entry['type']}: {entry['text']}")


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
