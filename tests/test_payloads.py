"""What JSON can hold, what stands for the rest, and what is refused by its name."""

from __future__ import annotations

import enum
import json
import math
import uuid
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from durably_wasm.payloads import JsonValue, decode, encode, to_json


class Colour(enum.Enum):
    RED = "red"
    NUMBER = 2


class Size(enum.StrEnum):
    LARGE = "large"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    pass


class Number(int):
    pass


class Ratio(float):
    pass


class Opaque:
    pass


Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Row:
    name: str
    value: object = None
    rest: list[object] = field(default_factory=list)


class Model(BaseModel):
    value: Any = None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (2**53 + 1, "9007199254740993"),
        (10**40, "1" + "0" * 40),
        ("", '""'),
        ("ä", r'"\u00e4"'),
        ("😀", r'"\ud83d\ude00"'),
        ("\ud800", r'"\ud800"'),
        ("a\x00b", r'"a\u0000b"'),
        ("\u2028", r'"\u2028"'),
        ([], "[]"),
        ({}, "{}"),
        ({"b": 1, "a": [1, {"c": None}]}, '{"b":1,"a":[1,{"c":null}]}'),
        ({"10": 1, "9": 2}, '{"10":1,"9":2}'),
    ],
)
def test_a_json_value_is_written_as_ascii_and_read_back(value: JsonValue, text: str) -> None:
    assert encode(value) == text
    assert text.isascii()
    assert repr(decode(text)) == repr(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}])
def test_no_text_is_written_that_other_languages_cannot_read(value: JsonValue) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        1.0,
        -0.0,
        1e300,
        "",
        "ä\x00\ud800😀",
        [],
        {},
        [None, [True, [1, [1.5, ["x"]]]]],
        {"b": 1, "a": {"": []}},
    ],
)
def test_a_json_value_stays_as_it_is(value: JsonValue) -> None:
    result = to_json(value)
    assert repr(result) == repr(value)
    assert type(result) is type(value)


def test_what_is_returned_is_a_copy() -> None:
    value: Any = {"a": [1]}
    result = to_json(value)
    value["a"].append(2)
    assert result == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, [3])), [1, [2, [3]]]),
        (Pair(1, "x"), [1, "x"]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        ({1}, [1]),
        (frozenset({"x"}), ["x"]),
        (Colour.RED, "red"),
        (Colour.NUMBER, 2),
        (Size.LARGE, "large"),
        (Level.HIGH, 3),
        (Text("x"), "x"),
        (Number(7), 7),
        (Ratio(1.5), 1.5),
        (datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC), "2026-01-02T03:04:05.678000Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=90), "PT1H30M"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (Path("a/b"), "a/b"),
        (b"ab", "YWI="),
        (b"\xff\xfe", "__4="),
        (bytearray(b"ab"), "YWI="),
        (Row("a", (1, Colour.RED), [b"ab"]), {"name": "a", "value": [1, "red"], "rest": ["YWI="]}),
        (Model(value=date(2026, 1, 2)), {"value": "2026-01-02"}),
        ([Model(value=Row("a"))], [{"value": {"name": "a", "value": None, "rest": []}}]),
        ({"rows": [Row("a", 1.0)]}, {"rows": [{"name": "a", "value": 1.0, "rest": []}]}),
    ],
)
def test_a_python_value_becomes_the_json_value_that_stands_for_it(value: object, expected: JsonValue) -> None:
    result = to_json(value)
    assert json.dumps(result) == json.dumps(expected)
    assert _is_plain(result), "no subclass slips through"


def test_what_pydantic_does_not_know_goes_to_the_fallback() -> None:
    assert to_json(Opaque, fallback=lambda value: "something") == "something"
    assert to_json([Row("a", Opaque())], fallback=lambda value: type(value).__name__) == [
        {"name": "a", "value": "Opaque", "rest": []}
    ]
    assert to_json([1, (2,)], fallback=lambda value: "unused") == [1, [2]]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Opaque(), "Opaque"),
        ([1, {"a": Opaque()}], "Opaque"),
        (object(), "object"),
        (Opaque, "type"),
        (range(3), "range"),
        (len, "builtin_function_or_method"),
        (ValueError("x"), "ValueError"),
        (Row("a", Opaque()), "Opaque"),
        (Model(value=Opaque()), "Opaque"),
        ({1: "a"}, "int"),
        ({None: "a"}, "NoneType"),
        ({(1, 2): "a"}, "tuple"),
        ({Size.LARGE: "a"}, "Size"),
        ([{"a": {1.5: 0}}], "float"),
    ],
)
def test_a_type_without_a_json_form_is_refused_by_its_name(value: object, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        to_json(value)


def test_a_key_that_is_not_text_is_shown() -> None:
    with pytest.raises(TypeError, match=r"dict key 17 is int, and JSON keys are text"):
        to_json({"a": {17: "x"}})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda number: number,
        lambda number: [number],
        lambda number: {"a": (number,)},
        lambda number: Row("a", number),
        lambda number: Ratio(number),
        lambda number: Model(value=number),
        lambda number: Row("a", Model(value=[number])),
    ],
    ids=["alone", "list", "dict", "dataclass", "subclass", "model", "model in a dataclass"],
)
def test_a_number_that_json_does_not_have_is_refused(wrap: Any, number: float) -> None:
    with pytest.raises(ValueError, match=r"nan|inf"):
        to_json(wrap(number))


def test_bytes_of_a_model_that_are_no_text_are_refused_by_name() -> None:
    """A model has a form of its own for bytes, by default UTF-8."""
    with pytest.raises(TypeError, match="Model"):
        to_json(Model(value=b"\xff"))


def test_a_value_that_contains_itself_is_refused() -> None:
    a_list: list[object] = []
    a_list.append([a_list])
    a_dict: dict[str, object] = {}
    a_dict["a"] = [a_dict]
    row = Row("a")
    row.value = {"row": row}
    for value, named in ((a_list, "list"), (a_dict, "dict"), (row, "[Cc]ircular")):
        with pytest.raises(ValueError, match=named):
            to_json(value)


def test_a_value_that_occurs_twice_is_no_circle() -> None:
    shared = [1]
    assert to_json({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def test_a_deep_value_passes_and_one_too_deep_is_refused() -> None:
    def nested(levels: int) -> JsonValue:
        value: JsonValue = []
        for _ in range(levels):
            value = [value]
        return value

    assert decode(encode(to_json(nested(200)))) == nested(200)
    with pytest.raises(ValueError, match="nested too deeply"):
        to_json(nested(100_000))


def _is_plain(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return type(value) is dict and all(type(key) is str and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return type(value) is list and all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)
