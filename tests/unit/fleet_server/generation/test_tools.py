"""Which tools are accepted, and what is wrong with others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract.api.tools import MAX_TOOLS
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.generation.tools import (
    CHAT_TOOLS,
    NO_TOOLS,
    RESPONSE_TOOLS,
    ToolUse,
    read_tools,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def tool(name: Any = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def read(tools: Any, choice: Any = None, parallel: bool | None = None) -> ToolUse:
    return read_tools(tools, choice, parallel, CHAT_TOOLS)


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def test_templates_get_name_description_and_parameters() -> None:
    used = read([tool(description="F.", parameters=SCHEMA, strict=True, other=1), tool("g")])
    assert used.definitions == [
        tool(description="F.", parameters=SCHEMA),
        tool("g", parameters={"type": "object", "properties": {}}),
    ]
    assert used.required == ()
    assert used.parallel
    assert used.schemas["f"] == SCHEMA


@pytest.mark.parametrize(
    ("choice", "required"),
    [(None, []), ("auto", []), ("required", ["f", "g"]), (named("g"), ["g"])],
)
def test_the_choice_of_tools(choice: Any, required: list[str]) -> None:
    used = read([tool(), tool("g")], choice, parallel=False)
    assert [each.name for each in used.required] == required
    assert len(used.tools) == 2
    assert not used.parallel


@pytest.mark.parametrize("tools", [None, []])
@pytest.mark.parametrize("choice", [None, "none", "auto"])
def test_without_tools_no_choice_has_an_effect(tools: Any, choice: Any) -> None:
    assert read(tools, choice) == NO_TOOLS


def test_tools_that_must_not_be_called_are_not_used() -> None:
    assert read([tool()], "none") == NO_TOOLS


def test_the_format_of_a_required_call() -> None:
    strict = tool("g")
    strict["function"]["strict"] = True
    output = read([tool(parameters=SCHEMA), strict], "required").forced()
    assert output.param == "tools"
    first, second = output.parts
    place = "tools[{}].function.parameters"
    assert json.loads(first.source) == {"type": "object", **SCHEMA, "additionalProperties": False}
    assert (first.param, first.strict) == (place.format(0), False)
    assert json.loads(second.source)["properties"] == {}
    assert (second.param, second.strict) == (place.format(1), True)


@pytest.mark.parametrize(
    ("choice", "parallel", "several"),
    [
        ("required", True, True), ("required", False, False),
        ({"type": "function", "function": {"name": "f"}}, True, False),
    ],
)  # fmt: skip
def test_how_many_calls_must_be_made(choice: Any, parallel: bool, several: bool) -> None:
    used = read([tool()], choice, parallel=parallel)
    assert used.several == several
    assert ("{0,7}" in used.forced().source) == several


@pytest.mark.parametrize(
    ("tools", "choice", "param", "code"),
    [
        ("f", None, "tools", "invalid_value"),
        ({}, None, "tools", "invalid_value"),
        (["f"], None, "tools[0]", "invalid_value"),
        ([{}], None, "tools[0].type", "invalid_value"),
        ([{"type": "function"}], None, "tools[0].function", "invalid_value"),
        ([{"type": "function", "name": "f"}], None, "tools[0].function", "invalid_value"),
        ([tool(None)], None, "tools[0].function.name", "invalid_value"),
        ([tool("")], None, "tools[0].function.name", "invalid_value"),
        ([tool("a b")], None, "tools[0].function.name", "invalid_value"),
        ([tool("f\n")], None, "tools[0].function.name", "invalid_value"),
        ([tool("a" * 65)], None, "tools[0].function.name", "invalid_value"),
        ([tool(description=5)], None, "tools[0].function.description", "invalid_value"),
        ([tool(parameters=[])], None, "tools[0].function.parameters", "invalid_value"),
        ([tool(strict="yes")], None, "tools[0].function.strict", "invalid_value"),
        ([tool(strict=1)], None, "tools[0].function.strict", "invalid_value"),
        ([tool(parameters={"a": [[]] * 3000})], None, "tools[0].function.parameters", None),
        ([tool(), tool()], None, "tools[1].function.name", "duplicate_tool"),
        ([tool(f"f{n}") for n in range(MAX_TOOLS + 1)], None, "tools", "invalid_value"),
        ([tool(description="x" * 200_001)], None, "tools", "tools_too_large"),
        ([{"type": "web_search"}], None, "tools[0].type", "unsupported_parameter"),
        ([tool()], "any", "tool_choice", "invalid_value"),
        ([tool()], 5, "tool_choice", "invalid_value"),
        ([tool()], {"type": "function"}, "tool_choice.function", "invalid_value"),
        ([tool()], {"type": "allowed_tools"}, "tool_choice.type", "unsupported_parameter"),
        ([tool()], named("g"), "tool_choice", "unknown_tool"),
        ([], "required", "tool_choice", "tools_missing"),
        (None, named("f"), "tool_choice", "tools_missing"),
    ],
)
def test_errors_name_the_place(tools: Any, choice: Any, param: str, code: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        read(tools, choice)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_responses_write_the_function_into_the_tool() -> None:
    given = {"type": "function", "name": "f", "parameters": SCHEMA, "strict": None}
    used = read_tools([given], {"type": "function", "name": "f"}, None, RESPONSE_TOOLS)
    assert used.definitions == [tool(parameters=SCHEMA)]
    assert [each.name for each in used.required] == ["f"]
    with pytest.raises(BadRequest) as caught:
        read_tools([given, given], None, None, RESPONSE_TOOLS)
    assert caught.value.param == "tools[1].name"
    with pytest.raises(UnsupportedParameter):
        read_tools([{"type": "mcp"}], None, None, RESPONSE_TOOLS)
