"""Run every measurement in turns and print the table; with a measurement's name, run that one in this process.

python -m tests.bench                          # the table
python -m tests.bench --rounds 1 steps         # only the rows made of measurements whose name contains "steps"
python -m tests.bench --measure "steps, durably_wasm"  # one measurement here, say under a profiler
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.bench import claims, engine, transact
from tests.bench.table import Figures, print_table

ROUNDS = 3
MEASUREMENTS = {**transact.MEASUREMENTS, **engine.MEASUREMENTS, **claims.MEASUREMENTS}


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.measure:
            print(MEASUREMENTS[arguments.measure](Path(folder)))
        else:
            print_table(measure(Path(folder), arguments.rounds, arguments.part), arguments.rounds)


def measure(folder: Path, rounds: int, part: str) -> dict[str, Figures]:
    """Return the median of the rounds' figures by measurement; of one that has failed, why it has."""
    taken: defaultdict[str, list[float]] = defaultdict(list)
    failed: dict[str, str] = {}
    names = [name for name in MEASUREMENTS if part in name]
    for round in range(rounds):
        for name in names:
            print(f"\rround {round + 1} of {rounds}: {name:<60}", end="", file=sys.stderr, flush=True)
            figure = _in_own_process(name, folder)
            if isinstance(figure, str):
                failed[name] = figure
            else:
                taken[name].append(figure)
    print(f"\r{'':<80}\r", end="", file=sys.stderr)
    return {name: failed[name] if name in failed else _figures(taken[name]) for name in names}


def _in_own_process(name: str, folder: Path) -> float | str:
    command = [sys.executable, "-m", "tests.bench", "--measure", name]
    with tempfile.TemporaryDirectory(dir=folder) as own:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": own})
    if done.returncode != 0:
        return _reason(done)
    return float(done.stdout.splitlines()[-1])


def _reason(failed: subprocess.CompletedProcess[str]) -> str:
    """Return the line that says what went wrong; some errors end in further lines of advice."""
    lines = failed.stderr.strip().splitlines() or [f"exit status {failed.returncode}"]
    return next((line for line in reversed(lines) if "Error: " in line), lines[-1])


def _figures(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("part", nargs="?", default="", help="only measurements whose name contains this")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--measure", choices=list(MEASUREMENTS), help="one measurement, in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
