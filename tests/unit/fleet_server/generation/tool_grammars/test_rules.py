"""The rules of a grammar of calls."""

from __future__ import annotations

import re

import pytest

from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.generation.tool_grammars.rules import Rules
from fleet_server.protocols import FormatKind, OutputFormat
from support.guided_text import Tokens, allows


def test_parts_and_ends_are_numbered_once() -> None:
    rules = Rules(("<a>", "</a>"))
    wanted = OutputFormat("{}", "p")
    assert (rules.part(wanted), rules.value({}, wanted)) == ("part_0", "part_0")
    assert rules.value({"type": "null"}, wanted) == "part_1"
    assert (rules.until("</a>"), rules.until("end"), rules.until("end")) == (
        "until_1", "until_2", "until_2",
    )  # fmt: skip
    assert rules.marks == ("<a>", "</a>", "end")
    assert rules.literal("x<a>end") == '"x" mark_0 "end"'


@pytest.mark.parametrize("required", ["", "b", "ac", "abc"])
def test_a_sequence_has_separators_between_terms_only(required: str) -> None:
    rules = Rules(())
    term = rules.sequence("s", [(f'"{name}"', name in required) for name in "abc"], ",")
    source = "\n".join([f"start: {term}", *rules.lines])
    tokens = Tokens((), ())
    compiler = GrammarCompiler(tokens.vocabulary())
    wanted = OutputFormat(source, "p", FormatKind.CALLS)
    for text in ("", "a", "b", "c", "a,b", "a,c", "b,c", "a,b,c", "b,a", "a,", ",a", "ab"):
        order = re.fullmatch("(a,?)?(b,?)?(c)?", text) and not text.endswith(",") and text != "ab"
        expected = bool(order) and set(required) <= set(text)
        assert allows(compiler, tokens, wanted, text) is expected, text
    compiler.close()
