"""Parses calls that a grammar enforces, and streams their arguments."""

from __future__ import annotations

import re

from fleet_server.generation.pieces import CallArguments, CallStart, Piece, Text
from fleet_server.generation.tool_parsers.call import NewId

HEAD = re.compile(r'\s*\}?\s*\{\s*"name"\s*:\s*"([^"]+)"\s*,\s*"arguments"\s*:\s*(?=\{)')
"""Of a call, after the end of an earlier one."""


class ForcedCall:
    """A CallParser (fleet_server.generation.output) of calls that follow
    fleet_server.generation.tool_parsers.call_grammar.forced; of one only if `single`.

    The grammar holds, so the arguments are passed on as they arrive. A text that ends before its
    arguments begin is text.
    """

    def __init__(self, new_id: NewId, *, single: bool = True) -> None:
        self.done = False
        self._new_id = new_id
        self._single = single
        self._calls = 0
        self._inside = False
        self._held = ""
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def called(self) -> bool:
        return self._calls > 0

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain with this text."""
        pieces: list[Piece] = []
        while text and not self.done:
            if self._inside:
                more, text = self._arguments(text)
                pieces += more
                continue
            self._held += text
            head = HEAD.match(self._held)
            if head is None:
                break
            pieces.append(CallStart(self._calls, self._new_id(), head[1]))
            self._calls, self._inside = self._calls + 1, True
            text, self._held = self._held[head.end() :], ""
        return pieces

    def flush(self) -> list[Piece]:
        """The text held back, at the end."""
        held = self._held.removeprefix("}").strip() if self._calls else self._held
        self._held = ""
        return [Text(held)] if held else []

    def _arguments(self, text: str) -> tuple[list[Piece], str]:
        """The arguments in `text`, and the text after their end."""
        end = self._end(text)
        if end is not None:
            self._inside, self.done = False, self._single
        more = text[:end]
        pieces: list[Piece] = [CallArguments(self._calls - 1, more)] if more else []
        return pieces, "" if end is None else text[end:]

    def _end(self, text: str) -> int | None:
        """The end of the arguments in `text`."""
        for number, letter in enumerate(text, start=1):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = letter == "\\"
                self._in_string = letter != '"'
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return number
        return None
