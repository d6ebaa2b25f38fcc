"""Splits the reasoning that a model writes before its answer, such as `<think>...</think>`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fleet_server.generation.marks import partial, spaces
from fleet_server.generation.pieces import Piece, Reasoning, Text


@dataclass(frozen=True, slots=True)
class ReasoningMarks:
    """The texts around a block of reasoning."""

    open: str
    close: str


MARKS = (
    ReasoningMarks("<think>", "</think>"),
    ReasoningMarks("[THINK]", "[/THINK]"),
    ReasoningMarks("<|channel>thought\n", "<channel|>"),
    ReasoningMarks("<seed:think>", "</seed:think>"),
    ReasoningMarks("<|START_THINKING|>", "<|END_THINKING|>"),
    ReasoningMarks("<thought>", "</thought>"),
    ReasoningMarks("<thinking>", "</thinking>"),
    ReasoningMarks("<reasoning>", "</reasoning>"),
)
"""Of Qwen3, DeepSeek R1, SmolLM3, Granite 4 and others; Magistral; Gemma 4; Seed; Command A; EXAONE
and others."""


def marks_in(template: str) -> ReasoningMarks | None:
    """The marks that a chat template names."""
    return next((marks for marks in MARKS if marks.close in template), None)


def opened_by(prompt_end: str, marks: ReasoningMarks) -> bool:
    """Whether a prompt that ends with this text has opened a block of reasoning."""
    return prompt_end.rstrip().endswith(marks.open.rstrip())


class _State(Enum):
    BEGINNING = auto()
    REASONING = auto()
    ANSWER_BEGINNING = auto()
    ANSWER = auto()


class ReasoningSplitter:
    """Splits one text that arrives in pieces.

    Only a block at the beginning is reasoning; the marks in an answer are text. The marks and the
    white space around them are dropped, nothing else is.
    """

    def __init__(self, marks: ReasoningMarks, *, is_open: bool = False) -> None:
        """`is_open`: the prompt ends with the opening mark."""
        self._marks = marks
        self._state = _State.REASONING if is_open else _State.BEGINNING
        self._held = ""
        self._reasoned = False

    @property
    def is_reasoning(self) -> bool:
        """Whether the text so far ends within a block of reasoning."""
        return self._state is _State.REASONING

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain with this text."""
        self._held += text
        pieces: list[Piece] = []
        if self._state is _State.BEGINNING:
            self._begin()
        if self._state is _State.REASONING:
            pieces.extend(self._reason())
        if self._state is _State.ANSWER_BEGINNING:
            self._held = self._held.lstrip()
            if self._held:
                self._state = _State.ANSWER
        if self._state is _State.ANSWER and self._held:
            pieces.append(Text(self._held))
            self._held = ""
        return pieces

    def flush(self) -> list[Piece]:
        """The text held back, at the end."""
        text, self._held = self._held, ""
        if not text:
            return []
        return [Reasoning(text) if self._state is _State.REASONING else Text(text)]

    def _begin(self) -> None:
        begun, mark = self._held.lstrip(), self._marks.open
        if begun.startswith(mark):
            self._state, self._held = _State.REASONING, begun[len(mark) :]
        elif not mark.startswith(begun):
            self._state = _State.ANSWER

    def _reason(self) -> list[Piece]:
        if not self._reasoned:
            self._held = self._held.lstrip()
        close = self._marks.close
        text, found, rest = self._held.partition(close)
        if found:
            self._state, self._held = _State.ANSWER_BEGINNING, rest
            text = text.rstrip()
        else:
            keep = partial(text, (close,))
            keep += spaces(text[: len(text) - keep])
            self._held = text[len(text) - keep :]
            text = text[: len(text) - keep]
        if not text:
            return []
        self._reasoned = True
        return [Reasoning(text)]
