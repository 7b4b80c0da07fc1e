"""What the demo's job makes of the files that people have: every separator, cells of any length, plain words."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from durably_wasm import create_durably
from durably_wasm.stores import MemoryStore

JOBS = Path(__file__).parent.parent / "web/demo/jobs.py"
HEADER = ["iata", "name", "city", "state", "country", "latitude", "longitude"]
FIRST = ["AAA", "First Field", "Springfield", "IL", "USA", "39.8", "-89.6"]
SECOND = ["BBB", "Second, Field; of\tthe | four", "Paris", "TX", "USA", "33.6", "-95.5"]


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_jobs", JOBS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(separator: str, *rows: list[str], end: str = "\n", quote: bool = True) -> str:
    quoted = [[f'"{cell}"' if quote else cell for cell in row] for row in rows]
    return "".join(separator.join(row) + end for row in quoted)


def cells(demo: ModuleType, text: str, encoding: str = "utf-8") -> list[list[str]]:
    table = demo.parse(text.encode(encoding))
    assert table.columns == HEADER
    return [row.cells for row in table.rows]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
class TestSeparators:
    def test_are_known_by_the_header(self, demo: ModuleType, separator: str, end: str) -> None:
        assert cells(demo, lines(separator, HEADER, FIRST, end=end, quote=False)) == [FIRST]

    def test_may_lie_in_quoted_cells(self, demo: ModuleType, separator: str, end: str) -> None:
        assert cells(demo, lines(separator, HEADER, FIRST, SECOND, end=end)) == [FIRST, SECOND]

    def test_may_follow_a_byte_order_mark(self, demo: ModuleType, separator: str, end: str) -> None:
        assert cells(demo, lines(separator, HEADER, SECOND, end=end), "utf-8-sig") == [SECOND]

    @pytest.mark.parametrize("hint", ["sep={}", "SEP={}", '"sep={}"', "sep={};;;;;;", "sep={},,,,,,"])
    def test_may_be_named_before_the_header(self, demo: ModuleType, separator: str, end: str, hint: str) -> None:
        text = hint.format(separator) + end + lines(separator, HEADER, SECOND, end=end)
        assert cells(demo, text) == [SECOND]
        assert demo.parse(text.encode()).rows[0].line == 3

    def test_may_stand_at_the_end_of_each_line(self, demo: ModuleType, separator: str, end: str) -> None:
        for header, row in ((True, True), (True, False), (False, True)):
            text = separator.join([*HEADER, *[""] * header]) + end + separator.join([*FIRST, *[""] * row]) + end
            table = demo.parse(text.encode())
            assert table.columns == HEADER
            assert demo.read_airport(table.columns, table.rows[0].cells).iata == "AAA"


def test_a_separator_of_another_kind_is_known_when_it_is_named(demo: ModuleType) -> None:
    assert cells(demo, "sep=~\n" + lines("~", HEADER, FIRST, quote=False)) == [FIRST]


def test_a_separator_that_is_named_wrongly_does_no_harm(demo: ModuleType) -> None:
    assert cells(demo, "sep=;\n" + lines(",", HEADER, SECOND)) == [SECOND]


def test_a_header_has_its_columns_in_any_order_and_others_beside_them(demo: ModuleType) -> None:
    header = [" Longitude", "remarks, if any", *HEADER[:-1]]
    table = demo.parse(lines(";", header, ["-89.6", "none", *FIRST[:-1]], quote=False).encode())
    assert table.columns == ["longitude", "remarks, if any", *HEADER[:-1]]
    assert demo.read_airport(table.columns, table.rows[0].cells).longitude == -89.6


@pytest.mark.parametrize("length", [131_072, 131_073, 3_000_000])
@pytest.mark.parametrize("separator", [",", ";"])
def test_cells_may_be_of_any_length(demo: ModuleType, length: int, separator: str) -> None:
    long = ["AAA", "x" * length, *FIRST[2:]]
    assert cells(demo, lines(separator, HEADER, long)) == [long]
    column = "y" * length
    assert demo.parse(lines(separator, [*HEADER, column], [*FIRST, ""]).encode()).columns == [*HEADER, column]


def test_cells_may_hold_line_breaks_and_quotes(demo: ModuleType) -> None:
    text = lines(";", HEADER) + '"AAA";"First\r\n""Field""\n";"S";"IL";"USA";"1";"2"\n' + lines(";", FIRST)
    table = demo.parse(text.encode())
    assert table.rows[0].cells[1] == 'First\r\n"Field"\n'
    assert [row.line for row in table.rows] == [4, 5]


def test_blank_lines_are_left_out(demo: ModuleType) -> None:
    text = "\n\n" + lines(";", HEADER, quote=False) + "\n" + lines(";", FIRST, quote=False) + "\n"
    assert cells(demo, text) == [FIRST]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"^The file is empty\.$"),
        (b"\xef\xbb\xbf \n", r"^The file is empty\.$"),
        (b"sep=;\n", r"^This is not a CSV file of airports\. It has no header\.$"),
        (b"iata\nAAA\n", r"Missing columns: name, city, state, country, latitude, longitude\. .* has: iata$"),
        (b"iata;name\nAAA;x\n", r"Missing columns: city, .* Its first line has: iata, name$"),
        (b"x" * 1000, r"Its first line has: x{160} …$"),
        (b'"iata";"name"x\n', r"^Line 1 is not valid CSV: "),
        ("sep=;\n" + lines(";", HEADER) + '"AAA";"open\n', r"^Line 3 is not valid CSV: unexpected end of data\.$"),
        (lines(";", HEADER).encode("utf-16"), r"^The file is UTF-16 text\. Save it as UTF-8"),
        (lines(";", HEADER).encode("utf-16-be"), r"^The file is not text\. Save it as CSV"),
        (lines(";", HEADER, ["AAA", "Zürich"]).encode("latin-1"), r"^Line 2 is not UTF-8 text"),
    ],
)
def test_other_files_fail_in_plain_words(demo: ModuleType, content: bytes | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demo.parse(content.encode() if isinstance(content, str) else content)


async def test_a_row_that_is_rejected_is_not_quoted_at_length(demo: ModuleType) -> None:
    rows = [FIRST, [*FIRST[:3], "x" * 200_000, *FIRST[4:]], FIRST[:-1]]
    warnings: list[str] = []
    async with create_durably(MemoryStore(), jobs={"import_csv": demo.import_csv}) as durably:
        durably.on("log:write", lambda event: warnings.append(event.message) if event.level == "warn" else None)
        given = demo.ImportInput(filename="a.csv", content=lines("\t", HEADER, *rows).encode())
        result = await durably.jobs.import_csv.trigger_and_wait(given)
    assert (result.output.imported, result.output.rejected) == (1, 2)
    assert warnings == [
        f"Row 3: state: '{'x' * 160} …' is not two capital letters",
        "Row 4: 6 cells, but the header has 7",
    ]
