"""Finds blocks of tool calls in a text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_server.generation.marks import first, partial, spaces
from fleet_server.generation.pieces import CallArguments, CallStart, Piece, Text
from fleet_server.generation.tool_parsers.call import Call, Schemas
from fleet_server.generation.tool_parsers.syntax import Syntax

MAX_FAILED = 64
"""Blocks that are not valid in one text, after which it has no more: each is read to its end."""

MAX_INNER = 64
"""Closing marks within the texts of one block, whose beginning is read again for each."""


class BlockParser:
    """A CallParser (fleet_server.generation.output) for one syntax.

    A block is held back until it is complete. One that is not valid, or that calls an unknown tool,
    is text. The white space before a call and at the end is dropped, nothing else is. With `single`
    only the first call is returned, after which the text is `done`.
    """

    def __init__(self, syntax: Syntax, schemas: Schemas, *, single: bool = False) -> None:
        self.done = False
        self._syntax = syntax
        self._schemas = schemas
        self._single = single
        self._held = ""
        self._open: str | None = None
        self._searched = 0
        self._inner = 0
        self._calls = 0
        self._began = False
        self._failed = 0
        self._space = ""  # before the block

    @property
    def called(self) -> bool:
        return self._calls > 0

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain with this text."""
        if self.done:
            return []
        self._held += text
        return list(self._pieces(final=False))

    def flush(self) -> list[Piece]:
        """The pieces held back, at the end."""
        return [] if self.done else list(self._pieces(final=True))

    def _pieces(self, *, final: bool) -> Iterator[Piece]:
        while not self.done:
            step = self._outside(final) if self._open is None else self._inside(final)
            if step is None:
                return
            yield from step

    def _outside(self, final: bool) -> list[Piece] | None:
        """The pieces before the next block; None if more text is needed."""
        syntax, held = self._syntax, self._held
        if not self._began:
            lead = self._lead(final)
            if lead is not None:
                begun = held.lstrip()
                self._open, self._space = "", held[: len(held) - len(begun)]
                self._held, self._searched = begun, 0
                return []
            if not self._began:
                return self._text(len(held)) if final and held else None
        opens = syntax.opens if self._failed < MAX_FAILED else ()
        found = first(held, opens)
        if found is not None:
            place, mark = found
            end = place - spaces(held[:place])
            pieces = self._text(end)
            self._open, self._space, self._searched = mark, held[end:place], 0
            self._held = held[place + len(mark) :]
            return pieces
        keep = 0
        if not final:
            keep = partial(held, opens)
            keep += spaces(held[: len(held) - keep])
        if len(held) == keep:
            return None
        if final and self._calls and not held.strip():
            self._held = ""
            return None
        return self._text(len(held) - keep)

    def _lead(self, final: bool) -> str | None:
        """The lead that the text begins with; `_began` if it begins with none."""
        begun = self._held.lstrip()
        found = next((lead for lead in self._syntax.leads if begun.startswith(lead)), None)
        if (
            found is None
            and begun
            and (final or not any(lead.startswith(begun) for lead in self._syntax.leads))
        ):
            self._began = True
        return found

    def _inside(self, final: bool) -> list[Piece] | None:
        """The calls of the block, or its text; None if it is incomplete."""
        close, held = self._syntax.close, self._held
        if self._open == "":
            close = None  # begun by a lead
        place = -1 if close is None else held.find(close, self._searched)
        if close is not None and place >= 0:
            after = place + len(close)
            if self._inner < MAX_INNER and not self._syntax.may_end(held[:place]):
                self._searched, self._inner = after, self._inner + 1
                return []
            return self._end(held[:place], held[:after], held[after:])
        if not final:
            self._searched = max(self._searched, len(held) - len(close or "") + 1, 0)
            return None
        return self._end(held, held, "")

    def _end(self, block: str, raw: str, rest: str) -> list[Piece]:
        """The calls of a block; `raw` is its text after the opening mark."""
        calls = self._syntax.read(block, self._schemas)
        opened, self._open, self._began, self._inner = self._open or "", None, True, 0
        if calls:
            self._held = rest
            return self._called(calls)
        # Only the mark is text for certain: another block may begin within this one.
        self._failed += 1
        self._held = raw + rest
        return [Text(self._space + opened)] if self._space + opened else []

    def _called(self, calls: list[Call]) -> list[Piece]:
        if self._single:
            calls = calls[:1]
            self.done = True
        pieces: list[Piece] = []
        for each in calls:
            pieces += (
                CallStart(self._calls, self._syntax.new_id(), each.name),
                CallArguments(self._calls, each.arguments),
            )
            self._calls += 1
        return pieces

    def _text(self, length: int) -> list[Piece]:
        text, self._held = self._held[:length], self._held[length:]
        self._began = self._began or bool(text)
        return [Text(text)] if text else []
