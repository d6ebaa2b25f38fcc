"""Messages of gpt-oss, whole and in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.generation.pieces import Piece, Reasoning, Text, merged
from fleet_server.generation.tool_parsers.harmony import MARKS, HarmonyParser, is_harmony
from support.recorded_calls import SCHEMAS, TRICKY, calls_of, split, text_of

ANALYSIS = "<|channel|>analysis<|message|>Let me think.<|end|>"
CALL = (
    "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
    f"{json.dumps(TRICKY[1])}<|call|>"
)
OTHER = " to=functions.now<|channel|>commentary json<|message|>{}<|call|>"
FINAL = "<|channel|>final<|message|>It is 5 < 6 < | warm."
NEXT = "<|start|>assistant"
OUTPUTS: list[tuple[str, str, str, list[Any]]] = [
    (FINAL, "", "It is 5 < 6 < | warm.", []),
    (f"{ANALYSIS}{NEXT}{FINAL}<|return|>", "Let me think.", "It is 5 < 6 < | warm.", []),
    (f"{ANALYSIS}{NEXT}{CALL}", "Let me think.", "", [TRICKY]),
    (f"{ANALYSIS}{NEXT}{CALL}{NEXT}{OTHER}", "Let me think.", "", [TRICKY, ("now", {})]),
    (OTHER, "", "", [("now", {})]),
    (CALL.removesuffix("<|call|>"), "", "", [TRICKY]),
    (CALL.replace("get_weather", "unknown"), "", json.dumps(TRICKY[1]), []),
    (CALL.replace("}<|call|>", "<|call|>"), "", json.dumps(TRICKY[1])[:-1], []),
    ("<|channel|>commentary<|message|>First a call.<|end|>" + NEXT + CALL, "", "First a call.",
     [TRICKY]),
    ("plain text", "", "plain text", []),
    ("", "", "", []),
]  # fmt: skip
CUTS = st.lists(st.integers(0, 400), max_size=12)
PARTS = [
    *MARKS,
    *(output for output, *_ in OUTPUTS),
    "assistant",
    " to=functions.now",
    "a",
    "é",
    "{",
]


def run(parts: list[str], *, single: bool = False) -> list[Piece]:
    parser = HarmonyParser(SCHEMAS, single=single)
    return merged([*(piece for part in parts for piece in parser.feed(part, 1)), *parser.flush()])


def reasoning_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Reasoning))


@pytest.mark.parametrize(("output", "reasoning", "text", "calls"), OUTPUTS)
def test_messages(output: str, reasoning: str, text: str, calls: list[Any]) -> None:
    for parts in ([output], list(output), split(output, range(0, 999, 3))):
        pieces = run(parts)
        found = (reasoning_of(pieces), text_of(pieces), calls_of(pieces))
        assert found == (reasoning, text, calls)


@given(st.lists(st.sampled_from(PARTS), max_size=8), CUTS)
def test_any_text_gives_the_same_whatever_its_pieces(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    whole, pieces = run([text]), run(split(text, cuts))
    assert reasoning_of(whole) == reasoning_of(pieces)
    assert (text_of(whole), calls_of(whole)) == (text_of(pieces), calls_of(pieces))


@given(st.text(), CUTS)
def test_text_without_marks_is_unchanged(text: str, cuts: list[int]) -> None:
    assert text_of(run(split(text, cuts))) == text


def test_text_and_reasoning_are_not_held_back() -> None:
    parser = HarmonyParser({})
    assert parser.feed("<|channel|>analysis<|message|>Hm", 1) == [Reasoning("Hm")]
    assert parser.feed(" m<|en", 1) == [Reasoning(" m")]
    assert parser.reasoning_tokens == 1
    assert parser.feed("d|><|start|>assistant<|channel|>final<|message|>Yes", 2) == [Text("Yes")]
    assert not parser.done


def test_only_the_first_call_if_one_is_wanted() -> None:
    assert calls_of(run([f"{CALL}{NEXT}{OTHER}"], single=True)) == [TRICKY]


def test_the_template_of_gpt_oss() -> None:
    assert is_harmony("{{- '<|start|>assistant<|channel|>final<|message|>' }}")
    assert not is_harmony("<|im_start|>assistant")
