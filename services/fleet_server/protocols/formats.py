"""The formats that a generated text can have to follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FormatKind(StrEnum):
    """How the format of a text is written."""

    JSON_SCHEMA = "json_schema"
    """The text is JSON that is valid against the schema."""
    REGEX = "regex"
    """The whole text matches the regular expression."""
    GRAMMAR = "grammar"
    """The text follows a grammar in Lark, as llguidance reads it, or in llama.cpp's GBNF."""
    CALLS = "calls"
    """The text follows a grammar in Lark with the rules of fleet_server.engines.guided.lark.Plan
    for `parts`, `marks` and `loose`."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The format of a text: `source` as text, whose place in the request is `param`.

    A keyword of a schema that the engine cannot enforce is an error if `strict`, and is ignored and
    reported otherwise. A grammar of calls refers to the schemas `parts`, and to the texts `marks`
    and `loose`, which may be special tokens; it is `free` if it allows any text as well.
    """

    source: str
    param: str
    kind: FormatKind = FormatKind.JSON_SCHEMA
    strict: bool = False
    parts: tuple[OutputFormat, ...] = ()
    marks: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    free: bool = False
