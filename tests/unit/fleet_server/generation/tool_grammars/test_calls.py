"""Calls in the syntaxes whose arguments are not JSON: what a grammar allows follows the schema and
is read as it was meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.generation.output import Parser
from fleet_server.generation.pieces import Text, merged
from fleet_server.generation.tool_grammars.marks import DSML
from fleet_server.generation.tool_parsers import dsml_calls, families, harmony
from fleet_server.generation.tool_parsers.block_parser import BlockParser
from fleet_server.generation.tool_parsers.call_grammar import guided_syntax, optional
from fleet_server.generation.tool_parsers.harmony import HarmonyParser
from fleet_server.generation.tool_parsers.syntax import Syntax
from fleet_server.protocols import OutputFormat
from support.guided_text import Tokens, allows
from support.recorded_calls import calls_of, run, text_of

SCHEMA: dict[str, Any] = {
    "type": "object", "additionalProperties": False,
    "properties": {
        "city": {"type": "string", "description": "Where."},
        "unit": {"type": "string", "enum": ["C", "F"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "exact": {"type": "boolean"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "place": {"$ref": "#/$defs/place"},
    },
    "required": ["city", "unit", "days", "exact", "note", "tags"],
    "$defs": {"place": {
        "type": "object", "additionalProperties": False, "required": ["a name"],
        "properties": {"a name": {"type": "string"}, "near": {"$ref": "#/$defs/place"}},
    }},
}  # fmt: skip
ARGUMENTS: dict[str, Any] = {
    "city": "Paris <3, é\n", "unit": "C", "days": 3, "exact": True, "note": None,
    "tags": ["a", "b}"], "place": {"a name": "x", "near": {"a name": "y"}},
}  # fmt: skip
LEAST: dict[str, Any] = {**ARGUMENTS, "exact": False, "note": "n", "tags": ["t"]}
del LEAST["place"]
BAD: list[dict[str, Any]] = [
    {**ARGUMENTS, "unit": "K"}, {**ARGUMENTS, "days": 12}, {**ARGUMENTS, "exact": 1},
    {**ARGUMENTS, "tags": []}, {**ARGUMENTS, "more": 1}, {**ARGUMENTS, "place": {"near": {}}},
    {key: value for key, value in ARGUMENTS.items() if key != "city"},
]  # fmt: skip
CODE = {
    "type": "object", "properties": {"code": {"type": "string", "pattern": "^[a-z]{2}$"}},
    "required": ["code"], "additionalProperties": False,
}  # fmt: skip
MAP = {"type": "object", "additionalProperties": {"type": "integer"}}
SCHEMAS = {"get_weather": SCHEMA, "get-code": CODE, "count": MAP, "other": {"type": "object"}}
dumps = partial(json.dumps, ensure_ascii=False)
TOOLS = [(name, OutputFormat(dumps(schema), name)) for name, schema in SCHEMAS.items()]
ANSWER = OutputFormat('{"type": "array", "items": {"type": "integer"}}', "p")


def xml(name: str, arguments: dict[str, Any]) -> str:
    parts = [
        f"<parameter={key}>\n{value if key in ('city', 'unit') else dumps(value)}\n</parameter>\n"
        for key, value in arguments.items()
    ]
    return f"<tool_call>\n<function={name}>\n{''.join(parts)}</function>\n</tool_call>"


def xml_json(name: str, arguments: dict[str, Any]) -> str:
    return f"<tool_call>\n{dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def dsml(name: str, arguments: dict[str, Any]) -> str:
    mark = DSML
    parts = []
    for key, value in arguments.items():
        is_text = isinstance(value, str) and key in ("city", "unit")
        text = value if is_text else dumps(value)
        parts.append(
            f'<{mark}parameter name="{key}" string="{str(is_text).lower()}">{text}'
            f"</{mark}parameter>\n"
        )
    return (
        f'{dsml_calls.BEGIN}\n<{mark}invoke name="{name}">\n{"".join(parts)}</{mark}invoke>\n'
        f"{dsml_calls.END}"
    )


def dsml_json(name: str, arguments: dict[str, Any]) -> str:
    return dsml(name, {}).replace("</", dumps(arguments) + "\n</", 1)


def python(name: str, arguments: dict[str, Any]) -> str:
    parts = [
        f"{key}={value if isinstance(value, bool) else dumps(value)}"
        for key, value in arguments.items()
    ]
    return f"[{name}({', '.join(parts)})]"


def python_json(name: str, arguments: dict[str, Any]) -> str:
    return f"[{dumps({'name': name, 'arguments': arguments})}]"


def gemma_value(value: Any, quote: str) -> str:
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, dict):
        keys = {key: key if " " not in key else f"{quote}{key}{quote}" for key in value}
        items = (f"{keys[key]}:{gemma_value(each, quote)}" for key, each in value.items())
        return f"{{{','.join(items)}}}"
    if isinstance(value, list):
        return f"[{','.join(gemma_value(each, quote) for each in value)}]"
    return dumps(value)


def json_values(arguments: dict[str, Any]) -> str:
    return f"{{{','.join(f'{key}:{dumps(value)}' for key, value in arguments.items())}}}"


def block(syntax: Syntax, text: str) -> str:
    return f"{syntax.opens[0]}{text}{syntax.close}"


def gpt_oss(name: str, arguments: dict[str, Any]) -> str:
    return (
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{dumps(arguments)}"
    )


FAMILIES: dict[str, Any] = {
    "xml": (families.XML, xml, xml_json, xml_json),
    "deepseek-v3.2": (families.DEEPSEEK_32, dsml, dsml, dsml_json),
    "llama4": (families.LLAMA4, python, python_json, python_json),
    "lfm2": (
        families.LFM2, *(
            lambda name, arguments, write=write: block(families.LFM2, write(name, arguments))
            for write in (python, python_json, python_json)
        ),
    ),
    "harmony": (families.HARMONY, gpt_oss, gpt_oss, gpt_oss),
} | {
    syntax.name: (
        syntax,
        lambda name, arguments, syntax=syntax, quote=syntax.tokens[0]: block(
            syntax, f"call:{name}{gemma_value(arguments, quote)}"
        ),
        lambda name, arguments, syntax=syntax: block(
            syntax, f"call:{name}{json_values(arguments)}"
        ),
        lambda name, arguments, syntax=syntax: block(syntax, f"call:{name}{dumps(arguments)}"),
    )
    for syntax in (families.GEMMA, families.FUNCTION_GEMMA)
}  # fmt: skip
"""The syntax, and how it writes plain arguments, texts with a pattern, and objects of any names."""


def parser_of(syntax: Syntax) -> Any:
    if syntax is families.HARMONY:
        return HarmonyParser(SCHEMAS)
    return BlockParser(guided_syntax(syntax), SCHEMAS)


def calls_in(syntax: Syntax, text: str) -> tuple[str, list[Any]]:
    parser = parser_of(syntax)
    if isinstance(parser, BlockParser):
        pieces = run(parser, list(text))
    else:
        made: Parser = parser
        pieces = merged([*(each for part in text for each in made.feed(part, 1)), *made.flush()])
    return text_of([each for each in pieces if isinstance(each, Text)]), calls_of(pieces)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Whether a text is allowed, with and without a format of the answer, and the family."""
    syntax, *writers = FAMILIES[request.param]
    marks = {*syntax.marks, *(harmony.MARKS if syntax is families.HARMONY else ())}
    # A mark that holds another one is not a token of its own.
    tokens = Tokens(sorted(marks), {
        mark for mark in marks if not any(each in mark for each in marks - {mark})
    })  # fmt: skip
    compiler = GrammarCompiler(tokens.vocabulary())
    wanted = [optional(TOOLS, syntax, (), output) for output in (None, ANSWER)]

    def allowed(text: str, *, answers: bool = False) -> bool:
        found = wanted[answers]
        assert found is not None
        return allows(compiler, tokens, found, text)

    yield allowed, syntax, writers
    compiler.close()


def test_arguments_follow_the_schema(family: Any) -> None:
    allowed, syntax, (plain, _, _) = family
    for arguments in (ARGUMENTS, LEAST):
        text = plain("get_weather", arguments)
        assert allowed(text)
        assert allowed(text, answers=True)
        assert calls_in(syntax, text) == ("", [("get_weather", arguments)])
    for arguments in BAD:
        assert not allowed(plain("get_weather", arguments))
    assert not allowed(plain("unknown", ARGUMENTS))


def test_arguments_that_are_written_as_json(family: Any) -> None:
    allowed, syntax, (_, code, mapping) = family
    for name, value, bad, written in (
        ("get-code", {"code": "ab"}, {"code": "abc"}, code),
        ("count", {"a b": 1, "c": 2}, {"a": "x"}, mapping),
    ):
        text = written(name, value)
        assert allowed(text)
        assert calls_in(syntax, text) == ("", [(name, value)])
        assert not allowed(written(name, bad))


def test_a_tool_without_a_strict_schema_takes_any_arguments(family: Any) -> None:
    allowed, syntax, (plain, *_) = family
    for arguments in ({}, {"city": "x", "unit": "K"}, {"n": [1, None, {"a": True}]}):
        text = plain("other", arguments)
        assert allowed(text)
        assert calls_in(syntax, text)[1][0][0] == "other"


def test_texts_besides_calls(family: Any) -> None:
    allowed, syntax, (plain, *_) = family
    for text in ("", "Any text < 3", "é\n\n1. a"):
        assert allowed(text)
        assert not allowed(text, answers=True)
    begin, end = ("<|channel|>final<|message|>", "") if syntax is families.HARMONY else ("", "")
    assert allowed(f"{begin}[1, 2]{end}", answers=True)
    assert not allowed(f'{begin}["a"]{end}', answers=True)
    if not syntax.leads and syntax is not families.HARMONY:
        text = f"Yes.\n{plain('get_weather', ARGUMENTS)}"
        assert allowed(text)
        assert calls_in(syntax, text) == ("Yes.", [("get_weather", ARGUMENTS)])


def test_messages_of_gpt_oss_follow_each_other() -> None:
    tokens = Tokens(harmony.MARKS, harmony.MARKS)
    compiler = GrammarCompiler(tokens.vocabulary())
    wanted = optional(TOOLS, families.HARMONY, ())
    assert wanted is not None
    assert wanted.free
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    call = gpt_oss("get_weather", ARGUMENTS)
    before = " to=functions.get_weather<|channel|>commentary json<|message|>"
    for text, known in (
        (f"{thought}{call}", True),
        (f"{thought}{call}<|call|>", True),
        (f"{thought}{before}{dumps(LEAST)}", True),
        (f"{thought}<|channel|>final<|message|>It is 5 < 6.", True),
        (f"{call}<|call|><|start|>assistant{call}", True),
        (f"{thought}{before}{{}}", False),
        (f"{thought}{call.replace('get_weather', 'unknown')}", False),
    ):
        assert allows(compiler, tokens, wanted, text) is known
    compiler.close()
