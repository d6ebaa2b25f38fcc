"""Collects the rules of a grammar of calls, in llguidance's dialect of Lark.

The names of the rules are those of fleet_server.engines.guided.lark.Plan.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fleet_server.engines.guided.lark import quoted
from fleet_server.protocols import OutputFormat

Tools = Sequence[tuple[str, OutputFormat]]
"""The names of the tools and the formats of their arguments, JSON Schemas."""
ANY_OBJECT = {"type": "object"}
"""The schema of arguments that need not follow one."""
MOST_VALUES = 1000
"""Values of a grammar that are compiled one by one, which takes 1 ms for each."""
MOST_REPEATED = 1_000_000
"""Characters of the definitions that are repeated with each value that refers to one."""


class Rules:
    """The rules of one grammar. `marks` are texts that may be special tokens."""

    def __init__(self, marks: Sequence[str]) -> None:
        self.parts: list[OutputFormat] = []
        self._tokens = tuple(marks)
        self._marks = list(marks)
        self._lines: dict[str, str] = {}
        self._numbers: dict[OutputFormat, int] = {}
        self._repeated = 0

    def can_afford(self, arguments: OutputFormat) -> bool:
        """Whether the values of these arguments may be written one by one, at what the tools before
        them cost; to be called once for each tool."""
        source = arguments.source
        repeated = self._repeated + source.count('"$ref"') * len(source)
        if repeated > MOST_REPEATED or len(self.parts) > MOST_VALUES:
            return False
        self._repeated = repeated
        return True

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks, with the ends of texts."""
        return tuple(self._marks)

    @property
    def lines(self) -> list[str]:
        """The definitions of the rules."""
        return [f"{name}: {term}" for name, term in self._lines.items()]

    def part(self, wanted: OutputFormat) -> str:
        """The term of JSON that follows a schema."""
        if wanted not in self._numbers:
            self._numbers[wanted] = len(self.parts)
            self.parts.append(wanted)
        return f"part_{self._numbers[wanted]}"

    def value(self, schema: Mapping[str, Any], of: OutputFormat) -> str:
        """`part` of a schema within that of a tool."""
        return self.part(replace(of, source=json.dumps(schema, ensure_ascii=False)))

    def literal(self, text: str) -> str:
        """The term of a text, with its marks as rules; empty for no text."""
        if not self._tokens:
            return quoted(text) if text else ""
        pieces = re.split("(" + "|".join(map(re.escape, self._tokens)) + ")", text)
        return " ".join(
            f"mark_{self._tokens.index(piece)}" if piece in self._tokens else quoted(piece)
            for piece in pieces
            if piece
        )

    def until(self, text: str) -> str:
        """The term of any text that ends with `text` for the first time."""
        if text not in self._marks:
            self._marks.append(text)
        return f"until_{self._marks.index(text)}"

    def rule(self, name: str, term: str) -> str:
        """The rule of this name, which is defined once."""
        self._lines.setdefault(name, term)
        return name

    def reserve(self, name: str) -> bool:
        """Whether a rule is not defined yet; it is to be set with `define`."""
        if name in self._lines:
            return False
        self._lines[name] = '""'
        return True

    def define(self, name: str, term: str) -> None:
        """Set the term of a reserved rule."""
        self._lines[name] = term

    def sequence(self, name: str, items: Sequence[tuple[str, bool]], separator: str) -> str:
        """The term of terms in order, of which those that are not required may be left out, with
        `separator` between two. `name` begins the names of the rules."""
        between = quoted(separator)
        rest = '""'
        starts: list[str] = ['""']
        for number, (term, required) in reversed(list(enumerate(items))):
            start = f"{term} {rest}"
            starts = [start] if required else [start, *starts]
            following = f"{between} {term} {rest}"
            rest = self.rule(f"{name}_{number}", following if required else f"{following} | {rest}")
        return "(" + " | ".join(starts) + ")"


def alternatives(terms: Sequence[str]) -> str:
    """A term for one of the terms."""
    return "(" + " | ".join(terms) + ")"


WriteCall = Callable[[Rules, str, OutputFormat], str | None]
"""The term of a call of the function with this name and format of its arguments; None for arguments
that cannot be written in this syntax."""
WholeText = Callable[[Tools, OutputFormat | None], OutputFormat]
"""The format of a whole text with calls, or of calls and otherwise a text of another format."""
