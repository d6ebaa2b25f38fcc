"""Calls that a grammar enforces."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.generation.pieces import CallArguments, CallStart, Text
from fleet_server.generation.tool_parsers.call import long_id
from fleet_server.generation.tool_parsers.forced_call import ForcedCall
from support.recorded_calls import (
    TRICKY,
    calls_of,
    json_of,
    run,
    split,
    text_of,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CUTS = st.lists(st.integers(0, 1000), max_size=12)


@given(st.dictionaries(st.text(), VALUES, max_size=4), CUTS, st.sampled_from([None, 1]))
def test_the_arguments_are_passed_on_unchanged(
    arguments: dict[str, Any], cuts: list[int], indent: int | None
) -> None:
    text = json.dumps({"name": "f", "arguments": arguments}, indent=indent)
    parser = ForcedCall(long_id)
    pieces = run(parser, split(text, cuts))
    assert calls_of(pieces) == [("f", arguments)]
    assert text_of(pieces) == ""
    assert parser.called
    assert parser.done


def test_the_arguments_arrive_as_they_are_written() -> None:
    parser = ForcedCall(lambda: "id")
    assert parser.feed('{"name": "f", "argum') == []
    assert parser.feed('ents": {"a') == [CallStart(0, "id", "f"), CallArguments(0, '{"a')]
    assert parser.feed('": "}"') == [CallArguments(0, '": "}"')]
    assert not parser.done
    assert parser.feed("}} ") == [CallArguments(0, "}")]
    assert parser.done
    assert parser.feed("x") == parser.flush() == []


def test_a_text_cut_before_the_arguments_is_text() -> None:
    parser = ForcedCall(long_id)
    assert run(parser, ['{"name": "f", "argu']) == [Text('{"name": "f", "argu')]
    assert not parser.called


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), min_size=1, max_size=4), CUTS)
def test_several_calls(calls: list[dict[str, Any]], cuts: list[int]) -> None:
    text = "\n".join(json.dumps({"name": "f", "arguments": each}) for each in calls)
    parser = ForcedCall(long_id, single=False)
    pieces = run(parser, split(text, cuts))
    assert calls_of(pieces) == [("f", each) for each in calls]
    assert text_of(pieces) == ""
    assert parser.called
    assert not parser.done


def test_a_later_call_that_is_cut_off_is_text() -> None:
    text = '{"name": "f", "arguments": {}}\n{"name": "f'
    pieces = run(ForcedCall(long_id, single=False), list(text))
    assert (calls_of(pieces), text_of(pieces)) == ([("f", {})], '{"name": "f')


def test_what_the_schema_allows_is_what_is_parsed() -> None:
    assert calls_of(run(ForcedCall(long_id), [json_of(TRICKY)])) == [TRICKY]
