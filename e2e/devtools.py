"""Chromium by its own protocol alone: Playwright's pages pretend to be in front, and such a page is never frozen.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from e2e.browser import EXECUTABLE, QUIET
from e2e.engines.base import EngineError, as_json, connected, from_json, kill_group

PATIENCE_S = 60
ADDRESS = "DevToolsActivePort"  # where Chromium writes how it is reached

POLL = """new Promise((resolve, reject) => {
  const patience = AbortSignal.timeout(%d);
  const look = async () => {
    if (await (%s)) resolve(true);
    else if (patience.aborted) reject(patience.reason);
    else setTimeout(look, 20);
  };
  look().catch(reject);
})"""


class DevTools:
    """A Chromium of several tabs."""

    def __init__(self, profile: Path) -> None:
        self.troubles: list[str] = []
        self._process = _start(profile)
        self._commands = 0
        try:
            self._socket = connected(self._process, lambda: _address_in(profile / ADDRESS))
        except BaseException:
            kill_group(self._process)
            raise

    def open(self, url: str) -> Tab:
        """Open an address in a new tab."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, target, session)
        tab.go(url)
        return tab

    def kill(self) -> None:
        """SIGKILL it."""
        kill_group(self._process)
        self._socket.shutdown()

    def command(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """Send a command to the browser, or to a tab by its session, and return what it answers."""
        self._commands += 1
        to = {} if session is None else {"sessionId": session}
        self._socket.send(json.dumps({"id": self._commands, "method": method, "params": params, **to}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._commands:
                break
            self._note(message)
        if "error" in message:
            raise EngineError(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.troubles.append(f"uncaught: {params['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.troubles.append(f"console: {params['args']}")


class Tab:
    """One tab, which can be frozen."""

    def __init__(self, browser: DevTools, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session
        self._command("Runtime.enable")
        self._command("Page.enable")

    def go(self, url: str) -> None:
        """Go to an address and return once the test page there is loaded."""
        self._command("Page.navigate", url=url)
        self.wait_for("window.loaded")

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression evaluates to, awaited and as JSON; EngineError when it throws."""
        answer = self._command("Runtime.evaluate", expression=as_json(expression), awaitPromise=True)
        if "exceptionDetails" in answer:
            raise EngineError(str(answer["exceptionDetails"]))
        return from_json(answer["result"].get("value"))

    def wait_for(self, expression: str) -> None:
        """Return once an expression is true in the page."""
        self.evaluate(POLL % (PATIENCE_S * 1000, expression))

    def freeze(self) -> None:
        """Freeze the page and its worker, after it has heard of it."""
        self._command("Page.setWebLifecycleState", state="frozen")

    def resume(self) -> None:
        """Let a frozen page go on."""
        self._command("Page.setWebLifecycleState", state="active")

    def close(self) -> None:
        self._browser.command("Target.closeTarget", targetId=self._target)

    def _command(self, method: str, **params: object) -> dict[str, Any]:
        return self._browser.command(method, self._session, **params)


def _start(profile: Path) -> subprocess.Popen[bytes]:
    assert EXECUTABLE is not None
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return subprocess.Popen(
        [EXECUTABLE, "--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}", *QUIET, *sandbox],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _address_in(file: Path) -> str:
    port, path = file.read_text().splitlines()
    return f"ws://127.0.0.1:{port}{path}"
