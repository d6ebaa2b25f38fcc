"""Parses the messages of gpt-oss: reasoning, text and tool calls in channels of their own.

Format: cookbook.openai.com/articles/openai-harmony. The prompt ends with `<|start|>assistant`, so
the text begins with the rest of a header.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fleet_server.generation.marks import first, partial
from fleet_server.generation.pieces import (
    CallArguments,
    CallStart,
    Piece,
    Reasoning,
    Text,
    merged,
)
from fleet_server.generation.tool_grammars.marks import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MESSAGE,
    RETURN,
    START,
)
from fleet_server.generation.tool_parsers.call import Schemas, call, long_id, parse
from fleet_server.protocols import ReasoningBudget

ENDS = (END, CALL, RETURN, START)
MARKS = (*ENDS, CHANNEL, MESSAGE, CONSTRAIN)
ANALYSIS = f"{CHANNEL}analysis{MESSAGE}"
"""Begins a block of reasoning."""
NEXT = f"{END}{START}assistant"
ANSWER = f"{NEXT}{CHANNEL}final{MESSAGE}"
"""Ends a block of reasoning and begins the answer."""
RECIPIENT = re.compile(r"\bto=functions\.([\w.-]+)")
MAX_HEADER = 200


def bounded(tokens: int, *, with_tools: bool) -> ReasoningBudget:
    """A bound on the reasoning of all blocks. After the first block beyond it the model may still
    call a tool, after the others it has to answer."""
    blocks = (NEXT, ANSWER) if with_tools else (ANSWER,)
    return ReasoningBudget(tokens, ANALYSIS, END, blocks=blocks)


def is_harmony(template: str) -> bool:
    """Whether a chat template writes this format."""
    return CHANNEL in template and MESSAGE in template


class HarmonyParser:
    """A Parser (fleet_server.generation.output) of this format.

    A call is held back until it is complete; one that is not valid is text. A text without headers
    is text.
    """

    def __init__(self, schemas: Schemas, *, single: bool = False) -> None:
        self.reasoning_tokens: int | None = 0
        self._done = False
        self._schemas = schemas
        self._single = single
        self._held = ""
        self._header: str | None = None  # of the message; None while it is read
        self._begun = False
        self._calls = 0

    @property
    def called(self) -> bool:
        """Whether there was a tool call."""
        return self._calls > 0

    @property
    def done(self) -> bool:
        """Whether the generation can end: nothing after a call is wanted."""
        return self._done

    def feed(self, text: str, num_tokens: int) -> list[Piece]:
        """The pieces that are certain with this text, which `num_tokens` new tokens gave."""
        if self.done:
            return []
        if self._is_reasoning:
            self.reasoning_tokens = (self.reasoning_tokens or 0) + num_tokens
        self._held += text
        return merged(self._pieces(final=False))

    def flush(self) -> list[Piece]:
        """The pieces held back, at the end of the generation."""
        return [] if self.done else merged(self._pieces(final=True))

    @property
    def _is_reasoning(self) -> bool:
        return self._header is not None and f"{CHANNEL}analysis" in self._header

    def _pieces(self, *, final: bool) -> list[Piece]:
        pieces: list[Piece] = []
        step: Callable[[bool], list[Piece] | None]
        while not self.done:
            step = self._read_header if self._header is None else self._read_body
            found = step(final)
            if found is None:
                break
            pieces += found
        return pieces

    def _read_header(self, final: bool) -> list[Piece] | None:
        head, found, rest = self._held.partition(MESSAGE)
        if not head and not found:
            return None
        fits = len(head) <= MAX_HEADER and (not head or self._may_be_header(head))
        if found and fits:
            self._header, self._held, self._begun = head, rest, True
            return []
        if not fits:
            # A text without a header; the mark that it may begin with would be read for ever.
            mark = START if head.startswith(START) else ""
            self._header, self._held, self._begun = "", self._held[len(mark) :], True
            return [Text(mark)] if mark else []
        if not final:
            return None
        self._held = ""
        return None if head.lstrip().startswith((START, CHANNEL)) else [Text(head)]

    def _may_be_header(self, text: str) -> bool:
        begun = text.lstrip()
        marks = (START, CHANNEL, MESSAGE) if self._begun else (START, CHANNEL, MESSAGE, "to=")
        return any(begun.startswith(mark) or mark.startswith(begun) for mark in marks)

    def _read_body(self, final: bool) -> list[Piece] | None:
        recipient = RECIPIENT.search(self._header or "")
        ends = first(self._held, ENDS)
        if ends is None and not final:
            if recipient is not None:
                return None
            keep = partial(self._held, ENDS)
            text, self._held = (
                self._held[: len(self._held) - keep],
                self._held[len(self._held) - keep :],
            )
            return [self._piece(text)] if text else None
        if ends is None:
            text, rest = self._held, ""
        else:
            place, mark = ends
            text, rest = self._held[:place], self._held[place:]
            rest = rest if mark == START else rest[len(mark) :]
        pieces = self._message(text, recipient[1] if recipient else None)
        self._header, self._held = None, rest
        return pieces if ends is not None or pieces else None

    def _message(self, text: str, name: str | None) -> list[Piece]:
        if name is None:
            return [self._piece(text)] if text else []
        known = call(name, parse(text), self._schemas)
        if known is None:
            return [Text(text)] if text else []
        self._done = self._single
        index, self._calls = self._calls, self._calls + 1
        return [CallStart(index, long_id(), known.name), CallArguments(index, known.arguments)]

    def _piece(self, text: str) -> Piece:
        return Reasoning(text) if self._is_reasoning else Text(text)
