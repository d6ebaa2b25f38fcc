"""What is written under a grammar of calls is parsed into calls that follow their schemas."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import jsonschema_rs
import numpy as np
import pytest

from fleet_contract.errors import BadRequest
from fleet_server.engines.guided.compiler import GrammarCompiler, GuidedVocabulary
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
SYNTAXES = [each for each in vars(families).values() if isinstance(each, Syntax) and each.form]
MARKS = sorted({mark for syntax in SYNTAXES for mark in syntax.marks} | {*THINK})
END = 256
IDS = {mark: END + 1 + number for number, mark in enumerate(MARKS)}
TEXTS = {number: mark for mark, number in IDS.items()}


def vocabulary(special: bool) -> GuidedVocabulary:
    """Bytes, and the marks as special tokens or as text."""
    bytes_ = [bytes([byte]) for byte in range(256)]
    return GuidedVocabulary(
        pieces=[*bytes_, b"<end>", *(each.encode() for each in MARKS)],
        special=[END, *IDS.values()], stop_ids=[END],
        encode=lambda text: [IDS[text]] if special and text in IDS else list(text.encode()),
    )  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "special"])
def compiler(request: pytest.FixtureRequest) -> Iterator[GrammarCompiler]:
    made = GrammarCompiler(vocabulary(request.param))
    yield made
    made.close()


def ids_of(compiler: GrammarCompiler, text: str) -> list[int]:
    ids: list[int] = []
    while text:
        mark = next((each for each in MARKS if text.startswith(each)), None)
        piece = mark or text[0]
        ids += compiler._tokens.encode(piece)
        text = text[len(piece) :]
    return ids


def written(compiler: GrammarCompiler, wanted: OutputFormat, start: str, seed: int) -> str | None:
    """A text that begins with `start`, continued at random; None if it has not ended."""
    masks = compiler.compile(wanted).start()
    draw = random.Random(seed)
    text = b""
    begun = ids_of(compiler, start)
    for _ in range(400):
        logits = np.zeros(len(compiler._tokens.pieces), dtype=np.float32)
        masks.apply(logits)
        assert masks.error is None
        allowed = np.flatnonzero(np.isfinite(logits)).tolist()
        if begun:
            token = begun.pop(0)
            if token not in allowed:
                raise ValueError(f"{start!r} is not allowed after {text!r}")
        else:
            if END in allowed and (len(allowed) == 1 or draw.random() < 0.3):
                return text.decode(errors="replace")
            token = draw.choice([each for each in allowed if each != END])
        text += TEXTS[token].encode() if token in TEXTS else bytes([token])
        masks.accept([token])
    return None


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
def test_calls_follow_their_schemas_once_they_have_begun(
    compiler: GrammarCompiler, syntax: Syntax
) -> None:
    wanted = optional(FORMATS, syntax, THINK)
    assert wanted is not None
    assert wanted.free
    found = 0
    for seed in range(6):
        text = written(compiler, wanted, beginning(syntax), seed)
        if text is not None:
            parser = BlockParser(guided_syntax(syntax), SCHEMAS)
            found += check(run(parser, list(text)))
            assert parser.called
    assert found
    for start in ("", "Any text < 3", "<thi", "é\n\n1. a"):
        text = written(compiler, wanted, start, 1)
        assert text is None or text.startswith(start)
    written(compiler, wanted, "<think>Hm.</think>Yes", 1)
    for wrong in (beginning(syntax).replace("get-weather", "other"), beginning(syntax) + '{"no'):
        with pytest.raises(ValueError, match="is not allowed"):
            written(compiler, wanted, wrong, 0)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_a_format_or_calls(compiler: GrammarCompiler, syntax: Syntax) -> None:
    wanted = optional(FORMATS, syntax, (), ANSWER)
    assert wanted is not None
    assert not wanted.free
    starts = {"[1": 0, beginning(syntax): 1, "": 0}
    for start, calls in starts.items():
        for seed in range(4):
            text = written(compiler, wanted, start, seed)
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
        written(compiler, wanted, "Text", 0)


@pytest.mark.parametrize("parallel", [False, True])
def test_calls_that_must_be_made(compiler: GrammarCompiler, parallel: bool) -> None:
    numbers = set()
    for seed in range(20):
        text = written(compiler, forced(FORMATS, parallel=parallel), "", seed)
        if text is not None:
            parser = ForcedCall(long_id, single=not parallel)
            pieces = run(parser, list(text))
            assert text_of(pieces) == ""
            numbers.add(check(pieces))
    assert max(numbers) <= MOST_CALLS
    assert (numbers == {1}) is not parallel


def test_errors_name_the_tool(compiler: GrammarCompiler) -> None:
    bad = OutputFormat('{"not": {}}', "tools[1].function.parameters", strict=True)
    for wanted in (
        forced([*FORMATS, ("bad", bad)], parallel=True),
        optional([*FORMATS, ("bad", bad)], families.HERMES, ()),
    ):
        assert wanted is not None
        with pytest.raises(BadRequest, match="not") as caught:
            compiler.compile(wanted)
        assert caught.value.param == bad.param


def test_what_schemas_of_tools_leave_out_is_reported(compiler: GrammarCompiler) -> None:
    loose = OutputFormat('{"not": {}}', "tools[1].function.parameters")
    assert compiler.compile(forced([("f", loose)], parallel=True)).unenforced == ("not",)


def test_families_without_a_form() -> None:
    assert optional(FORMATS, families.GEMMA, ()) is None
