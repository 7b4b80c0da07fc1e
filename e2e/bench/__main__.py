"""Measure, in Chromium on a persistent profile, and print what was measured. Figures are medians of one session.

Reload → next step: a run is held in the middle of its third step, the page is reloaded, and the clock of the new page,
which starts at the navigation, is read when the page hears `step:start`. The boot of Python is in it, the lease has
its default length.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from click.testing import CliRunner
from playwright.sync_api import Page, sync_playwright

from durably_wasm.cli import commands
from e2e.browser import Browser
from e2e.conftest import ROOT, test_page
from e2e.server import Server

REPEATS = 10
STAGES = ("runtime", "packages", "store", "jobs", "ready")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Path(folder) / "site"
        built = CliRunner().invoke(commands, ["build", str(ROOT / "e2e/site"), "--out", str(site)])
        assert built.exit_code == 0, built.output
        server = Server(site)
        browser = Browser(playwright, Path(folder) / "profile")
        try:
            measured = measure_reloads(browser.open(test_page(server)), server)
            report(measured)
            assert browser.troubles == []
        finally:
            browser.close()
            server.stop()


def measure_reloads(page: Page, server: Server) -> list[dict[str, float]]:
    """Return, for each reload, the milliseconds from the navigation to each stage and to the next step."""
    page.evaluate("durably.init()")
    measured = []
    for repeat in range(REPEATS):
        gate = f"reload-{repeat}/2"
        server.close_gate(gate)
        page.evaluate("(label) => durably.jobs.count.trigger({ label, steps: 4 })", f"reload-{repeat}")
        server.wait_for(gate)
        page.reload()
        server.wait_for(gate, times=2)
        page.wait_for_function("events.some(({ type }) => type === 'step:start')")
        at: dict[str, float] = page.evaluate(
            "Object.fromEntries(states.filter(({ stage }) => stage).map(({ stage, at }) => [stage, at]))"
        )
        at["next step"] = page.evaluate("events.find(({ type }) => type === 'step:start').at")
        measured.append(at)
        server.open_gate(gate)
        page.wait_for_function("events.some(({ type }) => type === 'run:complete')")
    return measured


def report(measured: list[dict[str, float]]) -> None:
    print(f"reload in the middle of a run, milliseconds since the navigation, {REPEATS} reloads")
    print(f"{'':>22}{'median':>8}{'least':>8}{'most':>8}")
    for name in (*STAGES, "next step"):
        values = [at[name] for at in measured]
        label = "its next step starts" if name == "next step" else f"stage {name}"
        print(f"{label:>22}{statistics.median(values):8.0f}{min(values):8.0f}{max(values):8.0f}")


if __name__ == "__main__":
    main()
