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


def allowed(*tools: Any, mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


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


@pytest.mark.parametrize(("mode", "required"), [("auto", []), ("required", ["g", "h"])])
def test_only_allowed_tools_are_shown(mode: str, required: list[str]) -> None:
    used = read([tool(), tool("g"), tool("h")], allowed(named("h"), named("g"), mode=mode))
    assert [each.name for each in used.tools] == ["g", "h"]
    assert [each.name for each in used.required] == required
    assert used.several


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
        ([tool()], {"type": "allowed_tools"}, "tool_choice.allowed_tools", "invalid_value"),
        ([tool()], allowed(mode="none"), "tool_choice.allowed_tools.mode", "invalid_value"),
        ([tool()], allowed(), "tool_choice.allowed_tools.tools", "invalid_value"),
        ([tool()], allowed(5), "tool_choice.allowed_tools.tools[0]", "invalid_value"),
        ([tool()], allowed(named("f"), named("g")), "tool_choice", "unknown_tool"),
        (None, allowed(named("f")), "tool_choice", "tools_missing"),
        (
            [tool()],
            {"type": "custom", "custom": {"name": "f"}},
            "tool_choice.type",
            "unsupported_parameter",
        ),
        (
            [{"type": "namespace", "name": "n", "tools": []}],
            None,
            "tools[0].type",
            "unsupported_parameter",
        ),
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


def response_tool(name: Any = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, **more}


def namespace(*tools: Any, name: Any = "crm", **more: Any) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "tools": list(tools), **more}


def read_response(tools: Any, choice: Any = None) -> ToolUse:
    return read_tools(tools, choice, None, RESPONSE_TOOLS)


def test_models_get_functions_of_namespaces_under_longer_names() -> None:
    used = read_response(
        [
            response_tool("get"),
            namespace(
                response_tool("get", description="Get.", strict=True), response_tool("put"),
                description="Customers.",
            ),
            namespace(response_tool("get"), name="mcp__files__"),
        ]
    )  # fmt: skip
    assert [(each.name, each.namespace, each.local_name) for each in used.tools] == [
        ("get", None, "get"), ("crm__get", "crm", "get"), ("crm__put", "crm", "put"),
        ("mcp__files__get", "mcp__files__", "get"),
    ]  # fmt: skip
    descriptions = [each["function"].get("description") for each in used.definitions]
    assert descriptions == [None, "Customers.\nGet.", None, None]
    assert [each.place for each in used.tools][1] == "tools[1].tools[0].parameters"


@pytest.mark.parametrize(
    ("name", "required"),
    [("put", ["crm__put"]), ("crm__get", ["crm__get"]), ("get", ["get", "crm__get"])],
)
def test_a_choice_names_functions_with_or_without_their_namespace(
    name: str, required: list[str]
) -> None:
    tools = [response_tool("get"), namespace(response_tool("get"), response_tool("put"))]
    used = read_response(tools, response_tool(name))
    assert [each.name for each in used.required] == required
    assert not used.several


@pytest.mark.parametrize(
    ("tools", "param", "code"),
    [
        ([namespace(name="a b")], "tools[0].name", "invalid_value"),
        ([namespace()], "tools[0].tools", "invalid_value"),
        ([namespace(description=5)], "tools[0].description", "invalid_value"),
        ([{**namespace(), "tools": "f"}], "tools[0].tools", "invalid_value"),
        ([namespace("f")], "tools[0].tools[0]", "invalid_value"),
        ([namespace(response_tool("a b"))], "tools[0].tools[0].name", "invalid_value"),
        ([namespace(namespace(response_tool()))], "tools[0].tools[0].type",
         "unsupported_parameter"),
        ([namespace({"type": "custom", "name": "f"})], "tools[0].tools[0].type",
         "unsupported_parameter"),
        ([response_tool("crm__f"), namespace(response_tool())], "tools[1].tools[0].name",
         "duplicate_tool"),
        ([namespace(*(response_tool(f"f{n}") for n in range(MAX_TOOLS + 1)))], "tools",
         "invalid_value"),
    ],
)  # fmt: skip
def test_errors_in_namespaces(tools: Any, param: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_response(tools)
    assert (caught.value.param, caught.value.code) == (param, code)
