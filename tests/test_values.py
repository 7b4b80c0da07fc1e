"""A value of a declared type comes back equal, live, replayed and from a handle, or it is refused at once."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import itertools
import re
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pydantic
import pytest
from conftest import AtOnce, Engine, Execute, Interrupt, Record
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    Tag,
    WrapValidator,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
)
from typing_extensions import TypedDict

from durably_wasm import JobDefinition, StepContext, ValidationError, define_job
from durably_wasm.schema import Schema
from durably_wasm.stores import MemoryStore

T = TypeVar("T")


class Login(BaseModel):
    password: SecretStr


class WrittenOtherwise(BaseModel):
    amount: int = Field(default=0, serialization_alias="b")


class ReadOtherwise(BaseModel):
    amount: int = Field(default=0, validation_alias="b")


class Swapped(BaseModel):
    a: int = Field(alias="b")
    b: int = Field(alias="a")


class Shouted(BaseModel):
    model_config = ConfigDict(
        serialize_by_alias=True, validate_by_name=False, alias_generator=str.upper, extra="forbid"
    )
    some_name: int


class FromPath(BaseModel):
    x: int = Field(validation_alias=AliasPath("a", "b"))


class FromChoices(BaseModel):
    x: int = Field(validation_alias=AliasChoices("a", "b"))


class Excluding(BaseModel):
    x: int = Field(default=0, exclude=True)


class ExcludingNone(BaseModel):
    x: int | None = Field(default=5, exclude_if=lambda value: value is None)


class Identified(BaseModel):
    id: uuid.UUID = Field(default_factory=uuid.uuid4, exclude=True)


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    name: str


class Kitten(Cat):
    weeks: int = 0


class Owner(BaseModel):
    pet: Cat | Dog
    others: list[Cat | Dog] = []


def _kind_of(value: Any) -> str:
    name = value["name"] if isinstance(value, dict) else value.name
    return "dog" if isinstance(value, Dog) or name.startswith("dog") else "cat"


class Told(BaseModel):
    pet: Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(_kind_of)]


class Typed(BaseModel):
    kind: Literal["typed"] = Field(default="typed", alias="type")


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 1


class Price(BaseModel):
    cents: int

    @field_validator("cents", mode="before")
    @classmethod
    def from_euros(cls, value: Any) -> int:
        return int(value) * 100


class Year(BaseModel):
    day: date

    @field_serializer("day")
    def to_year(self, value: date) -> str:
        return value.strftime("%Y-01-01")


class Growing(BaseModel):
    x: int

    @model_serializer
    def to_more(self) -> dict[str, int]:
        return {"x": self.x + 1}


class Area(BaseModel):
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2

    @functools.cached_property
    def corners(self) -> int:
        return 4


class Private(BaseModel):
    x: int
    _number: int = PrivateAttr(default_factory=itertools.count().__next__)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 0


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: int


class Root(RootModel[list[int]]): ...


class Box(BaseModel, Generic[T]):
    x: T


class Texts(BaseModel):
    parsed: Json[list[int]]
    encoded: Base64Bytes


class ById(BaseModel):
    id: int
    cache: int = Field(default=0, exclude=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.id == other.id


class Stream(BaseModel):
    rows: Iterable[int]


@dataclasses.dataclass
class Numbered:
    x: int
    id: str = dataclasses.field(init=False, default_factory=lambda: uuid.uuid4().hex)


@dataclasses.dataclass
class Derived:
    x: int
    twice: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.twice = 2 * self.x


@dataclasses.dataclass
class Seeded:
    seed: dataclasses.InitVar[int] = 3
    x: int = dataclasses.field(init=False, default=0)

    def __post_init__(self, seed: int) -> None:
        self.x = seed


@dataclasses.dataclass(eq=False)
class Unequal:
    x: int
    rest: tuple[int, ...] = ()


@dataclasses.dataclass
class Holder:
    value: Colour | str
    items: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int


class Pair(NamedTuple):
    left: int
    right: str


class Row(TypedDict):
    x: int


area = Area(side=2)
assert area.corners == 4  # which is kept beside the fields

EQUAL: list[tuple[Any, Any]] = [  # the declared type, and what is given
    (Login, Login(password=SecretStr(""))),  # nothing to mask
    (WrittenOtherwise, WrittenOtherwise(amount=5)),
    (ReadOtherwise, ReadOtherwise(b=5)),
    (Swapped, Swapped(b=1, a=2)),
    (Shouted, Shouted(SOME_NAME=1)),
    (FromPath, FromPath(a={"b": 3})),
    (FromChoices, FromChoices(b=3)),
    (Excluding, Excluding()),
    (Dog | Cat, Dog(name="a")),
    (Told, Told(pet=Dog(name="dog"))),
    (Annotated[Typed | Typed, Field(discriminator="kind")], Typed()),
    (Colour | str, "red"),
    (Level, Level.HIGH),
    (Area, area),
    (Private, Private(x=1)),
    (list[Private], [Private(x=1), Private(x=2)]),
    (Open, Open(x=1, y=[1], z={"a": None})),
    (set[Frozen], {Frozen(x=1), Frozen(x=2)}),
    (Root, Root([1])),
    (Box[int], Box[int](x=1)),
    (Texts, Texts(parsed="[1]", encoded=b"YWI=")),
    (ById, ById(id=1, cache=5)),  # whose own equality leaves the cache out
    (Derived, Derived(1)),
    (Seeded, Seeded()),
    (Unequal, Unequal(1, (2,))),
    (Slotted, Slotted(1)),
    (Pair, Pair(1, "x")),
    (Row, {"x": 1}),
    (dict[int, str], {1: "a"}),
    (dict[float, int], {1.5: 1, 1.0: 2}),
    (dict[bool, int], {True: 1}),
    (dict[Colour, int], {Colour.RED: 1}),
    (dict[date, int], {date(2026, 1, 2): 1}),
    (dict[bytes, int], {b"a": 1}),
    (int | bool, True),
    (bool | int, 1),
    (int | float, 1.0),
    (float, -0.0),
    (int, 10**4000),
    (Literal[1, True], True),
    (Decimal, Decimal("1.10")),
    (datetime | str, "2026-01-02"),
    (date | datetime, datetime(2026, 1, 2)),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    (datetime, datetime.max),
    (time, time(1, 2, 3, 4)),
    (timedelta, timedelta(days=-1, microseconds=3)),
    (complex, 1 + 2j),
    (re.Pattern, re.compile("a+")),
    (Fraction, Fraction(1, 3)),
    (Path, Path("a/b")),
    (IPv4Address | IPv6Address, ip_address("::1")),
    (deque[int], deque([1, 2])),
    (Counter[str], Counter("aab")),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    (defaultdict[str, list[int]], defaultdict(list, a=[1])),
    (frozenset[int], frozenset({1})),
    (set[frozenset[int]], {frozenset({1}), frozenset({2})}),
    (set[tuple[int, int]], {(1, 2)}),
    (tuple[int, str], (1, "a")),
    (Sequence[int], [1, 2]),
    (Mapping[str, int], {"a": 1}),
    (pydantic.HttpUrl, pydantic.HttpUrl("http://example.org/a")),
    (Annotated[str, AfterValidator(str.upper)], "a"),
    (Annotated[int, PlainSerializer(str)], 5),
    (dict[str, Any], {"a": [1, None, {"b": 1.5}]}),
    (str, "a\x00b"),
]

REFUSED: list[tuple[Any, Any, str]] = [  # the declared type, what is given, and what is told: the place and the type
    (Login, Login(password=SecretStr("x")), "password: pydantic.types.SecretStr"),
    (SecretStr, SecretStr("x"), "SecretStr"),
    (list[SecretBytes], [SecretBytes(b"x")], "list"),
    (Excluding, Excluding(x=5), "x: int"),
    (ExcludingNone, ExcludingNone(x=None), "x: NoneType would be read back as int"),
    (Identified, Identified(), "id: uuid.UUID"),
    (Numbered, Numbered(1), "id: str"),
    (Seeded, Seeded(4), "x: int"),
    (Cat | Dog, Dog(name="a"), "Dog would be read back as "),
    (Owner, Owner(pet=Dog(name="a")), "pet: "),
    (Owner, Owner(pet=Cat(name="a"), others=[Cat(name="a"), Dog(name="b")]), "others[1]: "),
    (Told, Told(pet=Dog(name="cat")), "pet: "),
    (Cat, Kitten(name="a"), "Kitten would be read back as "),
    (list[Cat], [Cat(name="a"), Kitten(name="a")], "[1]: "),
    (SerializeAsAny[Cat], Kitten(name="a", weeks=3), "Kitten"),
    (Colour | str, Colour.RED, "Colour would be read back as str"),
    (Holder, Holder(Colour.RED), "value: "),
    (Holder, Holder("a", [(1,)]), "items[0]: tuple would be read back as list"),
    (Unequal | int, Unequal(1, (Level.HIGH,)), "rest[0]: "),
    (set | list, {1}, "set would be read back as list"),
    (tuple | list, (1,), "tuple would be read back as list"),
    (str | bytes, b"a", "bytes would be read back as str"),
    (bytes | str, "YWI=", "str would be read back as bytes"),
    (dict[str | None, int], {None: 1}, "[None]: NoneType"),
    (dict[int | str, int], {1: 2}, "[1]: int"),
    (dict[int | str, int], {1: 2, "1": 3}, "[1]: int"),
    (dict[tuple[int, int], int], {(1, 2): 3}, "1,2"),
    (Price, {"cents": "3"}, "cents: int"),
    (Year, Year(day=date(2026, 1, 2)), "day: datetime.date"),
    (Growing, Growing(x=1), "x: int"),
    (Open, Open(y=(1,)), "y: tuple"),
    (Box, Box(x=(1,)), "x: tuple"),
    (Stream, Stream(rows=[1]), "rows: "),
    (Frozen, Frozen.model_construct(x="1"), "x: str would be read back as int"),
    (dict[str, Any], {"a": (1, 2)}, "['a']: tuple"),
    (dict[str, Any], {"a": date(2026, 1, 2)}, "['a']: datetime.date"),
    (dict[str, Any], {"a": b"x"}, "['a']: bytes"),
    (list[Any], [[{1}]], "[0][0]: set"),
    (dict, {1: 2}, "[1]: int"),
    (list[float], [1.0, float("nan")], "nan"),
    (dict[str, Any], {"a": float("inf")}, "inf"),
    (str, "caf\udce9.csv", "str 'caf"),
    (list[str], ["a", "caf\udce9.csv"], "[1]: str"),
    (dict[str, int], {"\udcff": 1}, "str"),
    (int, 10**5000, "int"),
    (dict[str, list[int]], {"a": [10**5000]}, "int"),
    (Decimal | str, "1.5", "str would be read back as decimal.Decimal"),
    (re.Pattern, re.compile("a", re.IGNORECASE), "re.Pattern"),
    (Annotated[str, AfterValidator(lambda text: text + "!")], "a", "str"),
    (Annotated[int, PlainSerializer(lambda number: number + 1)], 5, "int"),
    (Annotated[list[int], WrapValidator(lambda value, read: [*read(value), 0])], [1], "[2]"),
]


def id_of(value: Any) -> str:
    return getattr(value, "__name__", type(value).__name__)


_equal = pytest.mark.parametrize(("declared", "given"), EQUAL, ids=id_of)
_refused = pytest.mark.parametrize(("declared", "given", "told"), REFUSED, ids=id_of)


def echo(declared: Any, result: Any = None, seen: list[Any] | None = None, gate: asyncio.Event | None = None) -> Any:
    """Make a job whose input, step and output have the declared type; what it gets goes to `seen`."""
    got = [] if seen is None else seen

    async def run(step: StepContext, input: Any) -> Any:
        value = await step.run("echo", lambda: result, returns=declared)
        got.extend([input, value])
        if gate:
            await gate.wait()
        return value

    return define_job("echo", input=declared, output=declared, run=run)


def is_same(one: Any, other: Any) -> bool:
    """Compare by the class's own equality or, where it has none, by what is shown of the fields."""
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


def without_private(value: Any) -> Any:
    if isinstance(value, Private):
        return value.x
    return [without_private(item) for item in value] if isinstance(value, list) else value


class TestAnEqualValue:
    @_equal
    async def test_is_the_same_everywhere(
        self, engine: Engine, interrupt: Interrupt, at_once: AtOnce, declared: Any, given: Any
    ) -> None:
        value = Schema[Any](declared).validate(given)
        seen: list[Any] = []
        gate = asyncio.Event()
        durably = engine(echo(declared, value, seen, gate))
        handle = durably.jobs.echo
        triggered = await handle.trigger(given)
        await interrupt(durably)
        gate.set()
        await at_once(durably.process_one())  # a restart: the step is replayed
        run = await handle.get_run(triggered.id)
        assert run is not None and run.status == "completed", run and run.error
        [listed] = await handle.get_runs()
        assert len(seen) == 4
        for back in (triggered.input, *seen, run.input, run.output, listed.output):
            assert is_same(without_private(back), without_private(value))
        assert (run.decode_error, triggered.decode_error) == (None, None)

    async def test_of_a_page_may_name_fields_by_alias_or_by_name(self, engine: Engine) -> None:
        durably = engine(echo(Shouted))
        for sent in ({"SOME_NAME": 1}, {"some_name": 1}):
            run = await durably.jobs.echo.trigger_json(sent)
            assert run.input == {"some_name": 1}

    async def test_is_retriggered_as_it_was_stored(self, engine: Engine) -> None:
        durably = engine(echo(Swapped))
        run = await durably.jobs.echo.trigger(Swapped(b=1, a=2))
        await durably.cancel(run.id)
        again = await durably.retrigger(run.id)
        assert again.input == {"a": 1, "b": 2}


class TestAnUnequalValue:
    @_refused
    async def test_is_no_input(self, engine: Engine, store: MemoryStore, declared: Any, given: Any, told: str) -> None:
        durably = engine(echo(declared))
        for call in (durably.jobs.echo.trigger(given, idempotency_key="k"), durably.jobs.echo.batch_trigger([given])):
            with pytest.raises(ValidationError, match=re.escape(told)) as raised:
                await call
            assert "Invalid input for job 'echo'" in str(raised.value)
        assert await durably.get_runs() == [] and await durably.jobs.echo.get_runs() == []

    @_refused
    async def test_is_no_step_result(self, execute: Execute, declared: Any, given: Any, told: str) -> None:
        async def run(step: StepContext) -> None:
            await step.run("echo", lambda: given, returns=declared)

        ended, events = await execute(define_job("job", run=run))
        assert ended.status == "failed" and ended.error is not None
        assert "step 'echo'" in ended.error and told in ended.error
        assert [event.type for event in events if event.type.startswith("step:")] == ["step:start", "step:fail"]

    @_refused
    async def test_is_no_output(self, execute: Execute, declared: Any, given: Any, told: str) -> None:
        async def run(step: StepContext) -> Any:
            return given

        ended, _ = await execute(define_job("job", output=declared, run=run))
        assert ended.status == "failed" and ended.output is None and ended.error is not None
        assert ended.error.startswith("Invalid output: ") and told in ended.error


class TestWithoutADeclaredType:
    @pytest.mark.parametrize(
        "value",
        [
            SecretStr("x"),
            {"password": SecretBytes(b"x")},
            Login(password=SecretStr("x")),
            [Owner.model_construct(pet=SecretStr("x"))],
            Open(y={"a": [SecretStr("x")]}),
            Excluding(x=5),
            {"a": [Box(x=Excluding(x=5))]},
            10**5000,
            {"a": [10**5000]},
            {"a": float("nan")},
            object(),
        ],
        ids=lambda value: type(value).__name__,
    )
    async def test_what_json_has_no_faithful_form_of_is_refused(self, execute: Execute, value: Any) -> None:
        async def run(step: StepContext) -> None:
            await step.run("echo", lambda: value)

        ended, events = await execute(define_job("job", run=run))
        assert ended.status == "failed" and ended.error is not None
        assert "step 'echo'" in ended.error
        assert [event.type for event in events if event.type.startswith("step:")] == ["step:start", "step:fail"]

    @pytest.mark.parametrize("declared", [Any, object])
    async def test_any_declares_nothing(self, engine: Engine, at_once: AtOnce, declared: Any) -> None:
        seen: list[Any] = []
        durably = engine(echo(declared, {"a": (1, 2)}, seen))
        run = await durably.jobs.echo.trigger({"a": (1, 2)})
        await at_once(durably.process_one())
        assert seen == [{"a": [1, 2]}] * 2
        ended = await durably.jobs.echo.get_run(run.id)
        assert ended is not None and ended.output == {"a": [1, 2]}


class TestAnUnreadableRun:
    """Its job has changed since it was stored."""

    @pytest.fixture
    def before(self) -> JobDefinition[Any, Any]:
        async def run(step: StepContext, input: str) -> str:
            return input

        return define_job("job", run=run)

    @pytest.fixture
    def after(self) -> JobDefinition[Any, Any]:
        async def run(step: StepContext, input: int) -> int:
            return input

        return define_job("job", run=run)

    async def test_comes_with_its_json_and_the_reason_and_hides_no_other(
        self, engine: Engine, at_once: AtOnce, before: JobDefinition[Any, Any], after: JobDefinition[Any, Any]
    ) -> None:
        old = engine(before)
        for input in ("many", "12"):
            await old.jobs.job.trigger(input, idempotency_key=input)
            await at_once(old.process_one())
        handle = engine(after).jobs.job
        readable, unreadable = await handle.get_runs()
        assert (readable.input, readable.output, readable.decode_error) == (12, 12, None)
        assert (unreadable.input, unreadable.output) == ("many", "many")
        assert unreadable.decode_error is not None and "valid integer" in unreadable.decode_error
        assert await handle.get_run(unreadable.id) == unreadable
        hit = await handle.trigger(7, idempotency_key="many")
        assert (hit.id, hit.disposition, hit.input) == (unreadable.id, "idempotent", "many")
        assert hit.decode_error == unreadable.decode_error
        with pytest.raises(ValidationError, match="valid integer"):
            await handle.trigger_and_wait(7, idempotency_key="many")

    async def test_fails_when_it_is_executed(
        self,
        engine: Engine,
        record: Record,
        at_once: AtOnce,
        before: JobDefinition[Any, Any],
        after: JobDefinition[Any, Any],
    ) -> None:
        run = await engine(before).jobs.job.trigger("many")
        new = engine(after)
        await at_once(new.process_one())
        ended = await new.get_run(run.id)
        assert ended is not None and ended.status == "failed"
        assert ended.error is not None and ended.error.startswith("Invalid input: ")
