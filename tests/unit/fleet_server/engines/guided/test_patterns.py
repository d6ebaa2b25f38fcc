"""Patterns without look-around match the same texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.engines.guided.patterns import KNOWN, without_look_around
from support.schema_corpus import DURATION, EMAIL, HOST

AHEAD = {EMAIL: "a.b'_+-@1Z", DURATION: "P0YMDTHSW.,", HOST: "a-.0b", r"^(?=.{2,3}$)a+b?$": "ab"}


def same(pattern: str, text: str) -> bool:
    parts = without_look_around(pattern)
    matches = all(re.search(part, text, re.ASCII) for part in parts)
    return matches == bool(re.search(pattern, text, re.ASCII))


@settings(max_examples=150)
@given(st.data(), st.sampled_from(sorted(AHEAD)))
def test_the_same_texts_match(data: st.DataObject, pattern: str) -> None:
    text = data.draw(st.text(AHEAD[pattern], max_size=14).map(lambda text: text.strip("\n")))
    assert same(pattern, text)


@settings(max_examples=60)
@given(st.data(), st.sampled_from(sorted(AHEAD)))
def test_the_same_valid_texts_match(data: st.DataObject, pattern: str) -> None:
    parts = without_look_around(pattern)
    assert same(pattern, data.draw(st.from_regex(parts[-1], fullmatch=True)))


def test_nothing_is_left_of_look_around() -> None:
    assert {EMAIL, DURATION} == KNOWN.keys()
    for pattern in AHEAD:
        assert not any("(?=" in part or "(?!" in part for part in without_look_around(pattern))


@pytest.mark.parametrize(
    "pattern", ["a", "^a|b$", r"(?=a)b", r"^(?=(a))b", r"^(?=a)b|c", r"^(?!a)b"]
)
def test_others_are_kept(pattern: str) -> None:
    assert without_look_around(pattern) == [pattern]
