"""What is written under a grammar of calls is parsed into calls that follow their schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema_rs
import pytest

from fleet_contract.errors import BadRequest
from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.generation.pieces import Piece
from fleet_server.generation.tool_parsers import families
from fleet_server.generation.tool_parsers.block_parser import BlockParser
from fleet_server.generation.tool_parsers.call import long_id
from fleet_server.generation.tool_parsers.call_grammar import (
    MOST_CALLS,
    forced,
    guided_syntax,
    optional,
)
from fleet_server.generation.tool_parsers.forced_call import ForcedCall
from fleet_server.generation.tool_parsers.syntax import Syntax
from fleet_server.protocols import OutputFormat
from support.guided_text import Tokens, written
from support.recorded_calls import calls_of, run, text_of

SCHEMA = {
    "type": "object",
    "properties": {"unit": {"$ref": "#/$defs/unit"}, "days": {"type": "integer", "maximum": 9}},
    "required": ["unit", "days"], "additionalProperties": False, "$defs": {"unit": {"enum": ["C"]}},
}  # fmt: skip
EMPTY = {"type": "object", "additionalProperties": False}
TOOLS = [("get-weather", SCHEMA), ("now", EMPTY)]
SCHEMAS = dict(TOOLS)
FORMATS = [(name, OutputFormat(json.dumps(schema), name)) for name, schema in TOOLS]
ANSWER = OutputFormat('{"type": "array", "items": {"type": "integer"}, "maxItems": 2}', "p")
THINK = ("<think>", "</think>")
SYNTAXES = [
    each
    for each in vars(families).values()
    if isinstance(each, Syntax) and each.form and each.form.write is None
]
"""Of which the calls are JSON; for others see test_calls.py of tool_grammars."""
MARKS = sorted({mark for syntax in SYNTAXES for mark in syntax.marks} | {*THINK})

Guided = tuple[GrammarCompiler, Tokens]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "special"])
def guided(request: pytest.FixtureRequest) -> Iterator[Guided]:
    tokens = Tokens(MARKS, MARKS if request.param else ())
    made = GrammarCompiler(tokens.vocabulary())
    yield made, tokens
    made.close()


def check(pieces: list[Piece]) -> int:
    calls = calls_of(pieces)
    for name, arguments in calls:
        jsonschema_rs.validator_for(SCHEMAS[name]).validate(arguments)
    return len(calls)


def beginning(syntax: Syntax) -> str:
    form = syntax.form
    assert form is not None
    begin = syntax.opens[0] if "{" not in syntax.leads else ""
    return begin + form.begin + form.head.replace("NAME", "get-weather")


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_calls_follow_their_schemas_once_they_have_begun(guided: Guided, syntax: Syntax) -> None:
    wanted = optional(FORMATS, syntax, THINK)
    assert wanted is not None
    assert wanted.free
    found = 0
    for seed in range(6):
        text = written(*guided, wanted, beginning(syntax), seed)
        if text is not None:
            parser = BlockParser(guided_syntax(syntax), SCHEMAS)
            found += check(run(parser, list(text)))
            assert parser.called
    assert found
    for start in ("", "Any text < 3", "<thi", "é\n\n1. a"):
        text = written(*guided, wanted, start, 1)
        assert text is None or text.startswith(start)
    written(*guided, wanted, "<think>Hm.</think>Yes", 1)
    for wrong in (beginning(syntax).replace("get-weather", "other"), beginning(syntax) + '{"no'):
        with pytest.raises(ValueError, match="is not allowed"):
            written(*guided, wanted, wrong, 0)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_a_format_or_calls(guided: Guided, syntax: Syntax) -> None:
    wanted = optional(FORMATS, syntax, (), ANSWER)
    assert wanted is not None
    assert not wanted.free
    starts = {"[1": 0, beginning(syntax): 1, "": 0}
    for start, calls in starts.items():
        for seed in range(4):
            text = written(*guided, wanted, start, seed)
            if text is None:
                continue
            parser = BlockParser(guided_syntax(syntax), SCHEMAS)
            pieces = run(parser, list(text))
            assert check(pieces) >= calls
            if not parser.called:
                jsonschema_rs.validator_for(json.loads(ANSWER.source)).validate(
                    json.loads(text_of(pieces))
                )
    with pytest.raises(ValueError, match="is not allowed"):
        written(*guided, wanted, "Text", 0)


@pytest.mark.parametrize("parallel", [False, True])
def test_calls_that_must_be_made(guided: Guided, parallel: bool) -> None:
    numbers = set()
    for seed in range(20):
        text = written(*guided, forced(FORMATS, parallel=parallel), "", seed)
        if text is not None:
            parser = ForcedCall(long_id, single=not parallel)
            pieces = run(parser, list(text))
            assert text_of(pieces) == ""
            numbers.add(check(pieces))
    assert max(numbers) <= MOST_CALLS
    assert (numbers == {1}) is not parallel


def test_errors_name_the_tool(guided: Guided) -> None:
    bad = OutputFormat('{"not": {}}', "tools[1].function.parameters", strict=True)
    for wanted in (
        forced([*FORMATS, ("bad", bad)], parallel=True),
        optional([*FORMATS, ("bad", bad)], families.HERMES, ()),
    ):
        assert wanted is not None
        with pytest.raises(BadRequest, match="not") as caught:
            guided[0].compile(wanted)
        assert caught.value.param == bad.param


def test_what_schemas_of_tools_leave_out_is_reported(guided: Guided) -> None:
    loose = OutputFormat('{"not": {}}', "tools[1].function.parameters")
    assert guided[0].compile(forced([("f", loose)], parallel=True)).unenforced == ("not",)
