"""A type checker infers what the API promises, and finds the mistakes that it should."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

EXAMPLES = Path(__file__).parent / "typed" / "examples.py"


def test_types_are_inferred_and_mistakes_found() -> None:
    report, trouble, _ = api.run(["--strict", "--hide-error-context", "--no-error-summary", str(EXAMPLES)])
    found = {
        (int(line), code)
        for line, code in re.findall(r"examples\.py:(\d+): error: .*\[([a-z-]+)\]$", report, re.MULTILINE)
    }
    expected = {
        (number, match[1])
        for number, line in enumerate(EXAMPLES.read_text().splitlines(), 1)
        if (match := re.search(r"# expected: ([a-z-]+)$", line))
    }
    assert trouble == ""
    assert found == expected, report
