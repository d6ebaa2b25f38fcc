"""Grammars in llguidance's dialect of Lark, to which all formats of a text are converted.

Syntax: github.com/guidance-ai/llguidance, docs/syntax.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llguidance.gbnf_to_lark import any_to_lark

from fleet_contract.errors import BadRequest

MAX_CHARS = 50_000
MAX_DEPTH = 64
"""Of brackets. The compiler's recursion is as deep."""
MAX_RULES = 1000
LITERALS = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/(?:[^/\\\n]|\\.)+/|#[^\n]*')
"""Texts, comments and patterns."""
SET_OPERATORS = re.compile(r"&|~(?!\s*[0-9])")
"""Intersection and complement of patterns, which llguidance compiles without a bound: a grammar of
4,000 characters took 40 MB more each second. `~ 2..4` is a repetition."""
LINE_END = re.compile(r"\r\n?|\n")
NUL = "\0"
"""Where llama.cpp's reading of a grammar ends."""
ESCAPED = {"/": r"\/", "\r": r"\r", "\n": r"\n", NUL: r"\x00"}
"""What a pattern between slashes cannot have as such."""

ANY = r"/(.|\n)*/"
"""Any text without special tokens."""
Special = Callable[[str], int | None]
"""The id of the special token with a text; None if there is none."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A grammar whose rule is `start`, and the rules that it refers to.

    `part_0` is the first of `parts`. `mark_0` is the first of `marks`, and `until_0` any text that
    ends with it for the first time. `reasoned` are texts of the form `BEFORE`, which the source
    defines, each of which ends with a special token in `loose`; `TEXT` is any text without special
    tokens.
    """

    source: str
    parts: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()

    def text(self, special: Special) -> str:
        """The grammar of a vocabulary."""
        rules = [f"part_{number}: {part}" for number, part in enumerate(self.parts)]
        tokens = {mark: token for mark in self.marks if (token := special(mark)) is not None}
        for number, mark in enumerate(self.marks):
            rules += _mark(number, mark, tokens)
        if self.marks:
            found = [token for mark in self.loose if (token := special(mark)) is not None]
            loose = " | ".join(f"<[{token}]>" for token in found)
            rules += [
                f"TEXT: {ANY}",
                f"reasoned: (BEFORE ({loose}))*" if loose else 'reasoned: ""',
            ]
        return "\n".join([self.source, *rules])


def _mark(number: int, mark: str, tokens: Mapping[str, int]) -> list[str]:
    """The rules of a mark, which may be a special token, or hold one."""
    token = next((each for each in (mark, *tokens) if each in tokens and each in mark), None)
    if token is None:
        term = quoted(mark)
        return [f"mark_{number}: {term}", f"until_{number}[lazy]: TEXT {term}"]
    before, _, after = mark.partition(token)
    term = f"<[{tokens[token]}]> {quoted(after) if after else ''}"
    if not before:
        return [f"mark_{number}: {term}", f"until_{number}: TEXT {term}"]
    # The text in front of the token is part of the terminal, which is as long as possible.
    return [
        f"mark_{number}: {quoted(before)} {term}", f"until_{number}: UNTIL_{number} {term}",
        f"UNTIL_{number}: /(.|\\n)*{_within_slashes(re.escape(before))}/",
    ]  # fmt: skip


def schema_term(schema: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """A JSON value that follows the schema; `options` are those of llguidance's JSON compiler.
    Raises ValueError for numbers that JSON does not have."""
    text = json.dumps({**schema, "x-guidance": options}, ensure_ascii=False, allow_nan=False)
    return f"%json {text}"


def of_regex(pattern: str) -> str:
    """A text that the whole pattern matches."""
    return f"start: /{_within_slashes(pattern)}/"


def of_grammar(text: str, param: str) -> str:
    """A grammar in Lark, or in llama.cpp's GBNF, which is converted. Raises BadRequest."""
    _check_size(text, param)
    if NUL in text:
        raise BadRequest(
            "The grammar has the character NUL; write it as \\x00.",
            param=param,
            code="invalid_grammar",
        )
    try:
        converted: str = any_to_lark(text)
    except (Exception, RecursionError) as error:  # of no common type
        reason = str(error).splitlines()[0][:300] if str(error) else "it cannot be read"
        raise BadRequest(
            f"The grammar cannot be converted: {reason}", param=param, code="invalid_grammar"
        ) from error
    if found := SET_OPERATORS.search(LITERALS.sub(" ", converted)):
        raise BadRequest(
            f"The grammar cannot be followed: the operator {found[0]!r} of terminals is not "
            f"supported.",
            param=param,
            code="invalid_grammar",
        )
    return converted


def quoted(text: str) -> str:
    """A text in a rule."""
    return json.dumps(text, ensure_ascii=False)


def _within_slashes(pattern: str) -> str:
    """The pattern, with the characters of ESCAPED escaped, also those behind a backslash."""
    return re.sub(
        rf"\\.|[/\r\n{NUL}]", lambda found: ESCAPED.get(found[0][-1], found[0]), pattern,
        flags=re.DOTALL,
    )  # fmt: skip


def _check_size(text: str, param: str) -> None:
    depth = deepest = 0
    for letter in text:
        if letter in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in ")]}":
            depth -= 1
    rules = len(LINE_END.findall(text))
    if len(text) > MAX_CHARS or deepest > MAX_DEPTH or rules > MAX_RULES:
        raise BadRequest(
            f"A grammar can have {MAX_CHARS} characters, {MAX_RULES} lines and {MAX_DEPTH} levels "
            f"of brackets.",
            param=param,
            code="grammar_too_large",
        )
