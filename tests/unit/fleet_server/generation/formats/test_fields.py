"""The formats of OpenAI, vLLM and llama.cpp in requests."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.request import parse
from fleet_server.completions.request import parse as parse_completion
from fleet_server.generation.formats.fields import check_output, json_object, json_schema
from fleet_server.protocols import FormatKind, OutputFormat

SPEC = ModelSpec.model_validate({"model": "m"})
SCHEMA = {"type": "integer"}
GBNF = 'root ::= "a"'


def read(**fields: Any) -> OutputFormat | None:
    body = {"messages": [{"role": "user", "content": "x"}], **fields}
    found = parse(body, SPEC).options.output
    assert parse_completion({"prompt": "x", **fields}, SPEC).options.output == found
    return found


def vllm(**fields: Any) -> dict[str, Any]:
    return {"structured_outputs": fields}


@pytest.mark.parametrize(
    ("fields", "kind", "source", "param"),
    [
        ({"response_format": {"type": "json_object", "schema": SCHEMA}},
         FormatKind.JSON_SCHEMA, SCHEMA, "response_format.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
         FormatKind.JSON_SCHEMA, SCHEMA, "response_format.json_schema.schema"),
        (vllm(json=SCHEMA), FormatKind.JSON_SCHEMA, SCHEMA, "structured_outputs.json"),
        (vllm(json=json.dumps(SCHEMA)), FormatKind.JSON_SCHEMA, SCHEMA, "structured_outputs.json"),
        (vllm(json_object=True), FormatKind.JSON_SCHEMA, {"type": "object"},
         "structured_outputs.json_object"),
        (vllm(regex="a+"), FormatKind.REGEX, "a+", "structured_outputs.regex"),
        (vllm(choice=["a.b", "c d"]), FormatKind.REGEX, r"a\.b|c d", "structured_outputs.choice"),
        (vllm(grammar=GBNF), FormatKind.GRAMMAR, GBNF, "structured_outputs.grammar"),
        ({"guided_json": SCHEMA}, FormatKind.JSON_SCHEMA, SCHEMA, "guided_json"),
        ({"guided_regex": "a"}, FormatKind.REGEX, "a", "guided_regex"),
        ({"guided_choice": ["a"]}, FormatKind.REGEX, "a", "guided_choice"),
        ({"guided_grammar": GBNF}, FormatKind.GRAMMAR, GBNF, "guided_grammar"),
        ({"grammar": GBNF}, FormatKind.GRAMMAR, GBNF, "grammar"),
        ({"json_schema": SCHEMA}, FormatKind.JSON_SCHEMA, SCHEMA, "json_schema"),
    ],
)  # fmt: skip
def test_each_format_is_read(
    fields: dict[str, Any], kind: FormatKind, source: Any, param: str
) -> None:
    found = read(**fields)
    assert found is not None
    assert (found.kind, found.param, found.strict) == (kind, param, False)
    is_schema = kind is FormatKind.JSON_SCHEMA
    assert (json.loads(found.source) if is_schema else found.source) == source


def test_no_format() -> None:
    assert read() is None
    assert read(response_format={"type": "text"}, grammar=None) is None


def test_strict_schemas() -> None:
    form = {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": True}}
    found = read(response_format=form)
    assert found is not None
    assert found.strict


def test_choices_are_literal() -> None:
    texts = ["a.b*", "[x]", "1|2", "{3}", "^$", "back\\slash", "new\nline", "a-b&c~d#e"]
    found = read(structured_outputs={"choice": texts})
    assert found is not None
    for text in texts:
        assert re.fullmatch(found.source, text)
    assert not re.fullmatch(found.source, "axb*")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (vllm(), "structured_outputs"),
        (vllm(json_object=False), "structured_outputs"),
        (vllm(regex="a", choice=["a"]), "structured_outputs"),
        (vllm(structural_tag="{}"), "structured_outputs.structural_tag.structures"),
        (vllm(structural_tag="nonsense"), "structured_outputs.structural_tag"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.structures"),
        (vllm(choice=[]), "structured_outputs.choice"),
        (vllm(choice=["x" * 200_001]), "structured_outputs.choice"),
        (vllm(json="nonsense"), "structured_outputs.json"),
        (vllm(json="[1]"), "structured_outputs.json"),
        ({"guided_regex": "x" * 10_001}, "guided_regex"),
        ({"grammar": "x" * 50_001}, "grammar"),
        ({"grammar": ""}, "grammar"),
        ({"grammar": GBNF, "json_schema": SCHEMA}, "json_schema"),
        ({"response_format": {"type": "json_object"}, **vllm(regex="a")}, "structured_outputs"),
    ],
)  # fmt: skip
def test_wrong_formats_are_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


def test_engines_support_some_kinds() -> None:
    pattern = OutputFormat("a", "structured_outputs.regex", FormatKind.REGEX)
    schema = json_schema(SCHEMA, "response_format.json_schema.schema")
    needs = {"response_format": json_object("p"), "json_schema": schema, "grammar": pattern}
    check_output(None, frozenset())
    for name, output in needs.items():
        check_output(output, frozenset({name}))
        with pytest.raises(UnsupportedParameter, match="openvino, llamacpp, torch, vllm") as caught:
            check_output(output, needs.keys() - {name})
        assert caught.value.param == output.param.partition(".")[0]
