"""Reasoning is split from the answer, whatever the pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.generation.pieces import Piece, Reasoning, Text, merged
from fleet_server.generation.reasoning import (
    MARKS,
    ReasoningMarks,
    ReasoningSplitter,
    marks_in,
    opened_by,
)

THINK = MARKS[0]


def run(parts: list[str], marks: ReasoningMarks = THINK, *, is_open: bool = False) -> list[Piece]:
    splitter = ReasoningSplitter(marks, is_open=is_open)
    pieces = [piece for part in parts for piece in splitter.feed(part)]
    return merged([*pieces, *splitter.flush()])


@pytest.mark.parametrize("marks", MARKS)
def test_the_marks_of_each_family(marks: ReasoningMarks) -> None:
    text = f"\n{marks.open}\nOne.\n\nTwo.\n{marks.close}\n\nThe answer\n"
    expected = [Reasoning("One.\n\nTwo."), Text("The answer\n")]
    assert run([text], marks) == run(list(text), marks) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", [Text("plain")]),
        (" plain", [Text(" plain")]),
        ("", []),
        ("  ", [Text("  ")]),
        ("<th", [Text("<th")]),
        ("<thin air>", [Text("<thin air>")]),
        ("<think>a", [Reasoning("a")]),
        ("<think>a </thi", [Reasoning("a </thi")]),
        ("<think>\n\n</think>\n\nb", [Text("b")]),
        ("<think>a</think>", [Reasoning("a")]),
        ("<think>a</think> b <think>c</think>", [Reasoning("a"), Text("b <think>c</think>")]),
        ("b <think>c</think>", [Text("b <think>c</think>")]),
        ("<think>a <think> b</think>c", [Reasoning("a <think> b"), Text("c")]),
    ],
)
def test_only_a_block_at_the_beginning_is_reasoning(text: str, expected: list[Piece]) -> None:
    assert run([text]) == expected
    assert run(list(text)) == expected


def test_a_block_that_the_prompt_opened() -> None:
    assert run(["Hm.", "\n</think>\n", "Yes"], is_open=True) == [Reasoning("Hm."), Text("Yes")]
    assert run(["never closed"], is_open=True) == [Reasoning("never closed")]


def test_reasoning_is_not_held_back() -> None:
    splitter = ReasoningSplitter(THINK)
    assert splitter.feed("<think>I wonder ") == [Reasoning("I wonder")]
    assert splitter.is_reasoning
    assert splitter.feed("if </") == [Reasoning(" if")]
    assert splitter.feed("b") == [Reasoning(" </b")]
    assert splitter.feed("</think>Yes ") == [Text("Yes ")]
    assert not splitter.is_reasoning


WORDS = st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</", " ", "\n", "a", "é", "<"])


@given(st.lists(WORDS, max_size=10), st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_pieces_change_nothing_and_no_character_is_lost(
    words: list[str], cuts: list[int], is_open: bool
) -> None:
    text = "".join(words)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    parts = [text[start:end] for start, end in itertools.pairwise(places)]
    pieces = run(parts, is_open=is_open)
    assert pieces == run([text], is_open=is_open)
    kept = "".join(piece.text for piece in pieces if isinstance(piece, Text | Reasoning))
    rest = text if is_open else text.lstrip().removeprefix("<think>")
    if is_open or text.lstrip().startswith("<think>"):
        rest = rest.replace("</think>", "", 1)
    assert "".join(kept.split()) == "".join(rest.split())


@pytest.mark.parametrize(
    ("end", "is_open"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<｜Assistant｜><think>", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("<|im_start|>assistant\n", False),
        ("", False),
    ],
)
def test_a_prompt_may_open_a_block(end: str, is_open: bool) -> None:
    assert opened_by(end, THINK) is is_open


def test_the_template_names_the_marks() -> None:
    assert marks_in("{{ content.split('</think>')[-1] }}") == THINK
    assert marks_in("[THINK][/THINK]") == ReasoningMarks("[THINK]", "[/THINK]")
    assert marks_in("<|im_start|>") is None
