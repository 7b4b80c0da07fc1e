"""Measure, print the table, and write `results.json` and the chart.

python -m e2e.bench                           # everything: about ten minutes
python -m e2e.bench --only steps --rounds 1   # only what has "steps" in its key; the files stay as they are
python -m e2e.bench --stores indexeddb        # one store, beside upstream
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from playwright.sync_api import sync_playwright

from e2e.bench import crowded, memory, raw, results, resuming, tabs, working
from e2e.bench.chart import write_chart
from e2e.bench.measuring import Measurement, measure
from e2e.bench.origins import HERE
from e2e.bench.session import UPSTREAM, Session
from e2e.bench.table import TITLES, print_table

ROUNDS = 3
STORES = ["sqlite", "indexeddb"]
CHART = HERE.parent.parent / ".github/bench.svg"


def main() -> None:
    arguments = _arguments()
    planned = [measurement for measurement in _plan(arguments.stores) if arguments.only in measurement.key]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        upstream = any(measurement.of.startswith(UPSTREAM) for measurement in planned)
        with closing(Session(playwright, Path(folder), upstream=upstream)) as session:
            measured = measure(planned, session, arguments.rounds)
            print_table(measured, arguments.rounds, session.version)
            for trouble in session.troubles:
                print(f"in a page: {trouble}", file=sys.stderr)
    if arguments.only == "" and arguments.stores == STORES:
        found = results.results(measured)
        results.write(found, HERE / "results.json")
        write_chart(found, CHART)


def _plan(stores: list[str]) -> list[Measurement]:
    """Return all measurements, those with the same key beside each other."""
    parts = (working, raw, resuming, tabs, crowded, memory)
    every = [measurement for part in parts for measurement in part.measurements(stores)]
    return sorted(every, key=lambda measurement: list(TITLES).index(measurement.key))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.bench")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--only", default="", metavar="PART", help="only what has this in its key, such as steps or boot"
    )
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    return parser.parse_args()


if __name__ == "__main__":
    main()
