"""WebKitGTK's MiniBrowser, by WebDriver, on a screen that nobody sees.

https://www.w3.org/TR/webdriver2/
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from e2e.engines.base import PATIENCE_S, STARTING_S, EngineError, as_json, from_json, kill_group

EVALUATE = (
    "const done = arguments[0]; {}.then((value) => done({{ value }}), (error) => done({{ error: String(error) }}))"
)

LOADED = """new Promise((resolve) => {
  if (document.readyState === 'complete') resolve();
  else addEventListener('load', () => resolve());
})"""


class WebKit:
    """WebKitGTK. Its automation sessions keep everything in memory, have no OPFS, and do not tell of the console."""

    name = "webkit"
    keeps_profile = False

    @staticmethod
    @cache
    def version() -> str | None:
        if shutil.which("WebKitWebDriver") is None or shutil.which("Xvfb") is None:
            return None
        ask_debian = [
            "dpkg-query",
            "--show",
            "--showformat",
            "${Version}",
            "webkit2gtk-driver",
        ]  # itself it does not tell
        return f"WebKitGTK {subprocess.check_output(ask_debian, text=True).split('-')[0]}"

    def __init__(self, profile: Path) -> None:
        self.troubles: list[str] = []
        self._screen = self._driver = None
        self._session = ""
        try:
            self._screen, display = _start_screen()
            self._driver, self._connection = _start_driver(display)
            self._session = self._command("", capabilities={})["sessionId"]
            self._command("timeouts", script=PATIENCE_S * 1000)
        except BaseException:
            self.kill()
            raise

    def open(self, url: str) -> None:
        self._command("url", url=url)
        self.evaluate(LOADED)  # the driver answers before the page's modules have run

    def evaluate(self, expression: str) -> object:
        answer = self._command("execute/async", script=EVALUATE.format(as_json(expression)), args=[])
        if "error" in answer:
            raise EngineError(answer["error"])
        return from_json(answer["value"])

    def kill(self) -> None:
        if self._driver is not None:
            kill_group(self._driver)
            self._connection.close()
        if self._screen is not None:
            kill_group(self._screen)

    def _command(self, name: str, **params: object) -> Any:
        path = f"/session/{self._session}/{name}".rstrip("/")
        self._connection.request("POST", path, json.dumps(params), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        value = json.loads(response.read())["value"]
        if response.status != 200:
            raise EngineError(f"{path}: {value['message']}")
        return value


def _start_screen() -> tuple[subprocess.Popen[bytes], str]:
    """Start an X server on a free display, and return it with the display's name once it accepts clients."""
    reading, writing = os.pipe()
    with open(reading, "rb") as number:
        screen = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp"],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(writing)
        display = number.readline().decode().strip()
    if not display:
        kill_group(screen)
        raise EngineError("Xvfb did not start")
    return screen, f":{display}"


def _start_driver(display: str) -> tuple[subprocess.Popen[bytes], HTTPConnection]:
    """Start WebKitWebDriver on a free port, and return it with a connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["WebKitWebDriver", f"--port={port}"],
        env={**os.environ, "DISPLAY": display},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    deadline = time.monotonic() + STARTING_S
    while time.monotonic() < deadline and driver.poll() is None:
        with suppress(OSError):
            connection.connect()
            return driver, connection
        time.sleep(0.05)
    kill_group(driver)
    raise EngineError("WebKitWebDriver did not start")
