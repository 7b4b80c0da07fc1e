"""Ids sort by creation, whatever the clock does."""

from __future__ import annotations

from durably_wasm.ids import Ulids
from durably_wasm.models import add_ms

NOW = "2026-01-01T00:00:00.000Z"
NOW_MS = 1_767_225_600_000
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def number(ulid: str) -> int:
    value = 0
    for letter in ulid:
        value = value * 32 + ALPHABET.index(letter)
    return value


def test_an_id_is_a_ulid_of_its_time() -> None:
    ulid = Ulids().next(NOW)
    assert len(ulid) == 26
    assert number(ulid) >> 80 == NOW_MS


def test_each_millisecond_is_told_from_the_next() -> None:
    assert [number(Ulids().next(add_ms(NOW, ms))) >> 80 for ms in range(1_000)] == [NOW_MS + ms for ms in range(1_000)]


def test_the_text_sorts_as_the_number_does() -> None:
    ids = [Ulids().next(add_ms(NOW, ms)) for ms in range(-50_000, 50_000, 997)]
    assert ids == sorted(ids)


def test_ids_of_one_millisecond_grow() -> None:
    ulids = Ulids()
    ids = [ulids.next(NOW) for _ in range(1_000)]
    assert ids == sorted(set(ids))
    assert {number(ulid) >> 80 for ulid in ids} == {NOW_MS}


def test_ids_grow_when_the_clock_goes_back() -> None:
    ulids = Ulids()
    ids = [ulids.next(add_ms(NOW, ms)) for ms in (5_000, 0, 4_999, 5_000, 5_001, -86_400_000)]
    assert ids == sorted(set(ids))


def test_a_time_zone_does_not_matter() -> None:
    assert number(Ulids().next("2026-01-01T01:00:00.000+01:00")) >> 80 == NOW_MS


def test_two_sources_do_not_give_the_same_id() -> None:
    assert len({Ulids().next(NOW) for _ in range(1_000)}) == 1_000
