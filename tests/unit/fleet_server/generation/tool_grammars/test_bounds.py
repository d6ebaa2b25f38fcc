"""The size of grammars is bounded by that of the schemas, whatever is within them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.generation.formats.schema import MAX_DEPTH, narrowed
from fleet_server.generation.tool_grammars import gemma
from fleet_server.generation.tool_grammars.rules import MOST_REPEATED, Rules
from fleet_server.generation.tool_parsers import families
from fleet_server.generation.tool_parsers.call_grammar import optional
from fleet_server.generation.tool_parsers.syntax import Syntax
from fleet_server.protocols import OutputFormat
from support.guided_text import Tokens, allows

TEXT: dict[str, Any] = {"type": "string"}
WRITING = [
    each
    for each in vars(families).values()
    if isinstance(each, Syntax) and each.form is not None and each.form.write is not None
]


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": [*properties],
        "additionalProperties": False, **more,
    }  # fmt: skip


def grammar(syntax: Syntax, schema: dict[str, Any]) -> OutputFormat:
    found = optional([("f", OutputFormat(narrowed(schema, "p"), "p"))], syntax, ())
    assert found is not None
    return found


@pytest.mark.parametrize("of", [lambda each: {"type": "array", "items": each},
                                lambda each: closed({"a": each})])  # fmt: skip
def test_values_within_values(of: Any) -> None:
    value: dict[str, Any] = TEXT
    for _ in range(MAX_DEPTH // 2 - 2):
        value = of(value)
    assert len(grammar(families.GEMMA, closed({"a": value})).source) < 10_000


def chain(length: int, last: dict[str, Any]) -> dict[str, Any]:
    """A schema whose only property is the beginning of a chain of references."""
    defs = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(length)}
    return closed({"a": {"$ref": "#/$defs/d0"}}, **{"$defs": {**defs, f"d{length}": last}})


def test_a_long_chain_of_references_is_written() -> None:
    rules = Rules(families.GEMMA.marks)
    write = gemma.writer(families.GEMMA_QUOTE)
    assert write(rules, "f", OutputFormat(json.dumps(chain(1500, TEXT)), "p"))
    assert len(rules.lines) > 1500


def test_references_of_gemma() -> None:
    tokens = Tokens(families.GEMMA.marks, families.GEMMA.marks)
    compiler = GrammarCompiler(tokens.vocabulary())
    call = '<|tool_call>call:f{a:<|"|>x<|"|>}<tool_call|>'
    assert allows(compiler, tokens, grammar(families.GEMMA, chain(50, TEXT)), call)
    ring = grammar(families.GEMMA, chain(50, {"anyOf": [{"$ref": "#/$defs/d0"}, {"type": "null"}]}))
    assert allows(compiler, tokens, ring, "<|tool_call>call:f{a:null}<tool_call|>")
    assert not allows(compiler, tokens, ring, call)
    compiler.close()


@pytest.mark.parametrize("syntax", WRITING, ids=lambda syntax: syntax.name)
def test_definitions_are_not_repeated_without_end(syntax: Syntax) -> None:
    refers = {f"p{number}": {"$ref": "#/$defs/d", "title": str(number)} for number in range(900)}
    schema = closed(refers, **{"$defs": {"d": {**TEXT, "maxLength": 9, "title": "x" * 9000}}})
    found = grammar(syntax, schema)
    assert [part.source for part in found.parts] == [narrowed(schema, "p")]
    del schema["properties"]["p899"], schema["required"][20:]
    schema["properties"] = {name: refers[name] for name in schema["required"]}
    assert len(grammar(syntax, schema).parts) > (0 if "gemma" in syntax.name else 19)
    assert sum(len(part.source) for part in found.parts) < MOST_REPEATED


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "array", "items": TEXT, "maxItems": 1}, ["[]", '["x"]'], ['["x","x"]']),
        ({"type": "array", "items": TEXT, "minItems": 1, "maxItems": 1}, ['["x"]'], ["[]"]),
        ({"type": "string", "enum": ["x", 1]}, ['"x"'], ["1"]),
        ({"type": ["string", "null"], "enum": ["x", None]}, ['"x"', "null"], ['"y"']),
        ({"type": "integer", "enum": [1, 2]}, ["2"], ["3"]),
        ({"const": True}, ["true"], ["false"]),
    ],
)
def test_values_of_gemma(schema: dict[str, Any], good: list[str], bad: list[str]) -> None:
    tokens = Tokens(families.GEMMA.marks, families.GEMMA.marks)
    compiler = GrammarCompiler(tokens.vocabulary())
    wanted = grammar(families.GEMMA, closed({"a": schema}))
    for value in (*good, *bad):
        texts = {value, value.replace('"', '<|"|>')}
        calls = [f"<|tool_call>call:f{{a:{each}}}<tool_call|>" for each in texts]
        assert any(allows(compiler, tokens, wanted, call) for call in calls) is (value in good)
    compiler.close()
