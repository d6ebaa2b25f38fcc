"""Reasoning and calls of one generation, and special tokens that mark them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_server.generation.output import OutputParser, VisibleMarks, visible_marks
from fleet_server.generation.pieces import (
    CallArguments,
    CallStart,
    Piece,
    Reasoning,
    Text,
    WholeCall,
    merged,
    message_of,
)
from fleet_server.generation.reasoning import MARKS, ReasoningSplitter
from fleet_server.generation.tool_parsers.block_parser import BlockParser
from fleet_server.generation.tool_parsers.families import MISTRAL
from support.recorded_calls import SCHEMAS, calls_of, json_of

SPECIAL = {1: "[TOOL_CALLS]", 2: "</s>", 3: ""}


class Words:
    """A vocabulary of bytes and special tokens, which `decode` of its model leaves out."""

    def encode(self, text: str, add_special: bool) -> list[int]:
        known = {word: index for index, word in SPECIAL.items()}
        return [known[text]] if text in known else [byte + 100 for byte in text.encode()]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(SPECIAL.get(each) or chr(each - 100) for each in token_ids)


class Model:
    vocabulary = Words()

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(chr(each - 100) for each in token_ids if each not in SPECIAL)


def test_special_tokens_that_mark_calls_become_visible() -> None:
    model = Model()
    visible = visible_marks(model, MISTRAL.marks)
    assert visible == {1: "[TOOL_CALLS]"}
    decode = VisibleMarks(model.decode, visible)
    ids = [*model.vocabulary.encode("a", False), 1, *model.vocabulary.encode("b", False), 2, 1]
    assert model.decode(ids) == "ab"
    assert decode(ids) == "a[TOOL_CALLS]b[TOOL_CALLS]"
    assert decode(ids[:1]) == "a"
    assert decode([]) == ""


def test_a_model_without_a_vocabulary_has_no_special_marks() -> None:
    assert visible_marks(object(), MISTRAL.marks) == {}


class TextModel:
    """Of an engine that returns text, whose tokenizer blocks."""

    emits_text = True

    @property
    def vocabulary(self) -> Any:
        raise AssertionError("nothing is decoded here")


def test_nothing_is_decoded_for_an_engine_that_returns_text() -> None:
    assert visible_marks(TextModel(), MISTRAL.marks) == {}


def test_reasoning_text_and_calls() -> None:
    parser = OutputParser(ReasoningSplitter(MARKS[0]), BlockParser(MISTRAL, SCHEMAS))
    text = f"<think>[TOOL_CALLS] maybe</think>Ok. [TOOL_CALLS][{json_of(('now', {}))}]"
    pieces: list[Piece] = []
    for letter in text:
        pieces += parser.feed(letter, 1)
    pieces = merged([*pieces, *parser.flush()])
    assert pieces[:2] == [Reasoning("[TOOL_CALLS] maybe"), Text("Ok.")]
    assert calls_of(pieces) == [("now", {})]
    assert parser.called
    marked = len("<think>[TOOL_CALLS] maybe</think>")
    assert marked - len("<think>") < (parser.reasoning_tokens or 0) <= marked


def test_a_parser_of_nothing_passes_text_on() -> None:
    parser: Any = OutputParser()
    assert parser.feed("<think>", 1) == [Text("<think>")]
    assert parser.feed("", 1) == parser.flush() == []
    assert parser.reasoning_tokens is None
    assert not parser.called
    assert not parser.done


def test_the_message_of_all_pieces() -> None:
    pieces = [
        Reasoning("a"), Reasoning("b"), Text("c"), CallStart(0, "1", "f"), CallArguments(0, "{"),
        CallArguments(0, "}"), Text("d"), CallStart(1, "2", "g"), CallArguments(1, '{"a'),
    ]  # fmt: skip
    assert len(merged(pieces)) == 7
    message = message_of(pieces)
    assert message.reasoning == "ab"
    assert message.calls == [WholeCall("1", "f", "{}")]
    assert message.text == 'cd{"name": "g", "arguments": {"a'
