"""Whether a value that was read back from its stored JSON is the value that was there.

Equal means ``==`` and the same class, at every depth; where a class defines no equality, its fields are compared. The
private attributes of a pydantic model are no part of its value.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from enum import Enum
from itertools import zip_longest
from typing import TypeAlias

from durably_wasm.payloads import short_repr, type_name

_ATOMS = frozenset({bool, int, float, str, bytes, type(None)})  # `==` compares them whole
_ABSENT = object()
_Parts: TypeAlias = Iterable[tuple[object, object, object]]  # the index, key or field of a part, and it in both values


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place in which two values differ: its path inside them, what is there and what was read back."""

    there: object
    back: object
    path: str = ""

    def __str__(self) -> str:
        """Name the place and the classes, not the values, which may be large or secret."""
        place = f"{self.path.removeprefix('.')}: " if self.path else ""
        kind, other = type_name(self.there), type_name(self.back)
        if self.back is _ABSENT:
            return f"{place}{kind} would not be read back: it is not in the JSON"
        if self.there is _ABSENT:
            return f"{place}{other} would be read back, where nothing is"
        if isinstance(self.there, float) and not math.isfinite(self.there):
            return f"{place}float {self.there} is not a JSON number"
        if kind != other:
            return f"{place}{kind} would be read back as {other}"
        return f"{place}{kind} would be read back as another value: {_reason(self.there)}"


def difference(there: object, back: object) -> Difference | None:
    """Return where two values first differ; None when they are equal.

    Raises:
        RecursionError: They are nested too deeply.
    """
    kind = type(there)
    if kind is not type(back):
        return Difference(there, back)
    if kind in _ATOMS:
        return None if there == back else Difference(there, back)
    parts = _parts(there, back)
    if parts is None:
        return None if _is_equal(there, back) else Difference(there, back)
    for key, part, other in parts:
        found = difference(part, other)
        if found and not _is_ignored(there, back, part, other):
            return replace(found, path=_step_to(there, key) + found.path)
    return None


def _parts(there: object, back: object) -> _Parts | None:
    """Return the parts to compare of two values of one class; None where the class's own ``==`` decides."""
    if isinstance(there, list | tuple | deque) and isinstance(back, list | tuple | deque):
        return ((index, *pair) for index, pair in enumerate(zip_longest(there, back, fillvalue=_ABSENT)))
    if isinstance(there, Mapping) and isinstance(back, Mapping):
        return _items(there, back)
    if isinstance(there, Set) and isinstance(back, Set):
        return _members(there, back)
    names = _fields(there)
    return None if names is None else ((name, _field(there, name), _field(back, name)) for name in names)


def _step_to(there: object, key: object) -> str:
    is_record = isinstance(key, str) and not isinstance(there, Mapping | Set)
    return f".{key}" if is_record else f"[{short_repr(key)}]"


def _items(there: Mapping[object, object], back: Mapping[object, object]) -> _Parts:
    yield from _members(there.keys(), back.keys())
    for key, value in there.items():
        yield key, value, back.get(key, _ABSENT)


def _members(there: Set[object], back: Set[object]) -> _Parts:
    """Pair equal members: one may be of another class, as True is of 1."""
    others = {member: member for member in back}
    for member in there:
        yield member, member, others.get(member, _ABSENT)
    for member in back:
        if member not in there:
            yield member, _ABSENT, member


def _fields(value: object) -> list[str] | None:
    """Return the names of a value's fields, if it is a record: a model, a dataclass or without an equality."""
    kind = type(value)
    if isinstance(value, Enum | Iterator):  # a member is itself alone, and an iterator was consumed
        return None
    if (model_fields := getattr(kind, "__pydantic_fields__", None)) is not None and not dataclasses.is_dataclass(kind):
        return [*model_fields, *(getattr(value, "__pydantic_extra__", None) or ())]
    has_equality = kind.__eq__ is not object.__eq__
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.compare or not has_equality]
    if has_equality:
        return None
    slots = [name for base in kind.__mro__ for name in _slots(base)]
    return [*getattr(value, "__dict__", ()), *slots]


def _slots(kind: type) -> Iterable[str]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


def _field(value: object, name: str) -> object:
    return getattr(value, name, _ABSENT)


def _is_equal(there: object, back: object) -> bool:
    try:
        return there is back or bool(there == back)
    except Exception:  # a user's own equality may raise anything
        return False


def _is_ignored(there: object, back: object, part: object, other: object) -> bool:
    """Say whether the equality that a class defines leaves a part out that has changed."""
    return _is_equal(there, back) and not _is_equal(part, other)


def _reason(there: object) -> str:
    """Say what changes a value on its way, as far as its class tells."""
    if hasattr(there, "get_secret_value"):
        return "a secret is masked in JSON"
    if isinstance(there, Iterator):
        return "an iterator is consumed when it is written; use a list"
    return (
        "an excluded field is not stored, and validators, serializers and default factories are applied again at each "
        "reading"
    )
