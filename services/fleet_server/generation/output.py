"""Parses generated text into reasoning, text and tool calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from fleet_server.generation.pieces import Piece, Text, merged
from fleet_server.generation.reasoning import ReasoningSplitter


class CallParser(Protocol):
    """Finds the tool calls in one text that arrives in pieces."""

    @property
    def called(self) -> bool:
        """Whether there was a call."""

    @property
    def done(self) -> bool:
        """Whether the text has ended with a call, after which no further one is allowed."""

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain with this text."""

    def flush(self) -> list[Piece]:
        """The pieces held back, at the end."""


class Parser(Protocol):
    """Parses one generation into its parts. `reasoning_tokens` counts the tokens of reasoning, None
    for a model that does not reason."""

    reasoning_tokens: int | None

    @property
    def called(self) -> bool:
        """Whether there was a tool call."""

    @property
    def done(self) -> bool:
        """Whether the generation can end: nothing after a call is wanted."""

    def feed(self, text: str, num_tokens: int) -> list[Piece]:
        """The pieces that are certain with this text, which `num_tokens` new tokens gave."""

    def flush(self) -> list[Piece]:
        """The pieces held back, at the end of the generation."""


class OutputParser:
    """A Parser of reasoning in front of a text with calls."""

    def __init__(
        self, reasoning: ReasoningSplitter | None = None, calls: CallParser | None = None
    ) -> None:
        self.reasoning_tokens = None if reasoning is None else 0
        self._reasoning = reasoning
        self._calls = calls

    @property
    def called(self) -> bool:
        """Whether there was a tool call."""
        return self._calls is not None and self._calls.called

    @property
    def done(self) -> bool:
        """Whether the generation can end: nothing after a call is wanted."""
        return self._calls is not None and self._calls.done

    def feed(self, text: str, num_tokens: int) -> list[Piece]:
        """The pieces that are certain with this text, which `num_tokens` new tokens gave."""
        if self._reasoning is None:
            return self._with_calls([Text(text)] if text else [])
        before = self._reasoning.is_reasoning
        pieces = self._reasoning.feed(text)
        if before or self._reasoning.is_reasoning:
            self.reasoning_tokens = (self.reasoning_tokens or 0) + num_tokens
        return self._with_calls(pieces)

    def flush(self) -> list[Piece]:
        """The pieces held back, at the end of the generation."""
        held = [] if self._reasoning is None else self._reasoning.flush()
        pieces = self._with_calls(held)
        if self._calls is not None:
            pieces.extend(self._calls.flush())
        return merged(pieces)

    def _with_calls(self, pieces: Iterable[Piece]) -> list[Piece]:
        if self._calls is None:
            return merged(pieces)
        found: list[Piece] = []
        for piece in pieces:
            found.extend(self._calls.feed(piece.text) if isinstance(piece, Text) else [piece])
        return merged(found)


class VisibleMarks:
    """Decodes tokens to text in which some special tokens are visible.

    `decode` is ChatModel's; `visible` holds the texts of special tokens that it leaves out.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], visible: Mapping[int, str]) -> None:
        self._decode = decode
        self._visible = visible

    def __call__(self, token_ids: Sequence[int]) -> str:
        if self._visible.keys().isdisjoint(token_ids):
            return self._decode(token_ids)
        parts: list[str] = []
        start = 0
        for place, token_id in enumerate(token_ids):
            if token_id in self._visible:
                parts += (self._decode(token_ids[start:place]), self._visible[token_id])
                start = place + 1
        return "".join([*parts, self._decode(token_ids[start:])])


def visible_marks(model: Any, marks: Iterable[str]) -> dict[int, str]:
    """The special tokens in `marks` that the model's `decode` leaves out, with their texts; none of
    a model with `emits_text`, which decodes itself and whose vocabulary may block."""
    if getattr(model, "emits_text", False) or getattr(model, "vocabulary", None) is None:
        return {}
    vocabulary = model.vocabulary
    found: dict[int, str] = {}
    for mark in marks:
        for token_id in vocabulary.encode(mark, False):
            text = vocabulary.decode([token_id]).strip()
            if text and text in mark and not model.decode([token_id]):
                found[token_id] = text
    return found
