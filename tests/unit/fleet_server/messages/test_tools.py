"""Tools, thinking, schemas and prefills of messages, as Anthropic's client uses them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import beta_async_tool

from support.recorded_calls import json_of

QWEN3 = "{{ tools }}<tool_call></tool_call></think>{{ enable_thinking }}"
ALL = frozenset({"tools", "response_format", "json_schema", "grammar"})
CALL = f"<tool_call>\n{json_of(('f', {'a': 'é'}))}\n</tool_call>"
OUTPUT = f"<think>Hm.</think>Ok.{CALL}{CALL}"
TOOLS = [
    {"name": name, "description": "F.", "input_schema": {"type": "object", "properties": {}}}
    for name in ("f", "g" * 128)
]
HELLO: dict[str, Any] = {
    "model": "scripted", "max_tokens": 500, "messages": [{"role": "user", "content": "hello"}],
}  # fmt: skip


def made(scripted: Any, text: str = OUTPUT, template: str = QWEN3, **more: Any) -> Any:
    return scripted(text, supports=ALL, chat_template=template, **more)


def check(message: Any) -> None:
    thinking, text, *calls = message.content
    assert (thinking.type, thinking.thinking, thinking.signature) == ("thinking", "Hm.", "")
    assert text.text == "Ok."
    assert [(call.type, call.name, call.input) for call in calls] == [
        ("tool_use", "f", {"a": "é"})
    ] * 2
    assert len({call.id for call in calls}) == 2
    assert message.stop_reason == "tool_use"


async def test_deferred_tools_are_hidden_until_a_reference(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    """As Claude Code sends them, which searches its tools itself."""
    search, late = {**TOOLS[0], "name": "search"}, {**TOOLS[0], "defer_loading": True}
    tools = [search, late, {**late, "name": "never"}]
    use = {"type": "tool_use", "id": "t1", "name": "search", "input": {}}
    found = [{"type": "tool_reference", "tool_name": "f"}]
    result = {"type": "tool_result", "tool_use_id": "t1", "content": found}
    turns = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    fields = HELLO | {"tools": tools}
    with serve(made(scripted, CALL)) as live:
        async with client_of(live) as client:
            hidden = await client.messages.create(**fields)
            shown = await client.messages.create(**fields | {"messages": HELLO["messages"] + turns})
        (_, before), (messages, after) = live.model.prompts
    assert [tool["function"]["name"] for tool in before.tools] == ["search"]
    assert [tool["function"]["name"] for tool in after.tools] == ["search", "f"]
    assert messages[-1]["content"] == "The tool f is loaded."
    assert hidden.stop_reason == "end_turn"
    assert [block.name for block in shown.content] == ["f"]


async def test_tools_are_added_and_removed_in_the_middle(serve: Any, scripted: Any) -> None:
    def change(kind: str, name: str) -> dict[str, Any]:
        return {"type": kind, "tool": {"type": "tool_reference", "name": name}}

    names = ("a", "b", "c", "d")
    tools = [{**TOOLS[0], "name": name, "defer_loading": name != "a"} for name in names]
    changes = [change("tool_addition", "b"), change("tool_addition", "c"),
               change("tool_removal", "a"), change("tool_removal", "c")]  # fmt: skip
    text = {"type": "text", "text": "Be brief."}
    wrong = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {}}}
    with serve(made(scripted, "x")) as live:
        for content in (changes, [*changes, text]):
            said = [*HELLO["messages"], {"role": "system", "content": content}]
            answer = await live.chat(**HELLO | {"tools": tools, "messages": said})
            assert answer.status_code == 200, answer.text
        said = [*HELLO["messages"], {"role": "system", "content": [wrong]}]
        error = await live.refused(**HELLO | {"tools": tools, "messages": said})
        (silent, arguments), (messages, _) = live.model.prompts
    assert [tool["function"]["name"] for tool in arguments.tools] == ["b"]
    assert [message["role"] for message in silent] == ["user"]
    assert messages[-1] == {"role": "system", "content": "Be brief."}
    assert error["param"] == "messages[1].content[0].tool.type"


async def test_a_message_has_a_block_for_each_part(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    fields = HELLO | {"tools": TOOLS, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with serve(made(scripted)) as live:
        async with client_of(live) as client:
            check(await client.messages.create(**fields))
            async with client.messages.stream(**fields) as stream:
                indices = [event.index async for event in stream
                           if event.type == "content_block_stop"]  # fmt: skip
                check(await stream.get_final_message())
        (_, arguments), _ = live.model.prompts
    assert indices == [0, 1, 2, 3]
    assert [tool["function"] for tool in arguments.tools] == [
        {"name": tool["name"], "description": "F.", "parameters": tool["input_schema"]}
        for tool in TOOLS
    ]
    assert arguments.variables == {"enable_thinking": True}


@pytest.mark.parametrize(
    ("choice", "required", "parallel"),
    [
        ({"type": "auto"}, False, True),
        ({"type": "auto", "disable_parallel_tool_use": True}, False, False),
        ({"type": "any"}, True, None),
        ({"type": "tool", "name": "f"}, True, None),
    ],
)
async def test_choices_of_tools(
    serve: Any, scripted: Any, client_of: Any, choice: Any, required: bool, parallel: bool | None
) -> None:
    text = json.dumps({"name": "f", "arguments": {}}) if required else OUTPUT
    with serve(made(scripted, text)) as live:
        async with client_of(live) as client:
            answer = await client.messages.create(**HELLO, tools=TOOLS, tool_choice=choice)
        (sampling,) = live.model.asked
    assert (sampling.grammar is not None) == required
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert len(calls) == (2 if parallel else 1)
    assert answer.stop_reason == "tool_use"


async def test_no_tools_with_choice_none(serve: Any, scripted: Any, client_of: Any) -> None:
    with serve(made(scripted, CALL)) as live:
        async with client_of(live) as client:
            answer = await client.messages.create(
                **HELLO, tools=TOOLS, tool_choice={"type": "none"}
            )
        ((_, arguments),) = live.model.prompts
    assert arguments.tools == []
    assert answer.content[0].text == CALL


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tool_choice": {"type": "any"}}, "requires 'tools'"),
        ({"tools": TOOLS, "tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({"tools": TOOLS, "tool_choice": {"type": []}}, "tool_choice.type"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "h"}}, "'h'"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [{"name": "f", "input_schema": 5}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f f", "input_schema": {}}]}, "1 to 128"),
        ({"tools": [{"name": "bash", "type": "bash_20250124"}]}, "bash_20250124"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "two functions"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
    ],
)
async def test_wrong_tools_are_refused(serve: Any, scripted: Any, fields: Any, named: str) -> None:
    with serve(made(scripted)) as live:
        answer = await live.chat(**fields)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("template", "thinking", "variables"),
    [
        (QWEN3, None, {"enable_thinking": False}),
        (QWEN3, "disabled", {"enable_thinking": False}),
        (QWEN3, "adaptive", {"enable_thinking": True}),
        ("{{ messages }}", None, {}),
        ("{{ messages }}", "disabled", {}),
        ("{{ messages }}", "adaptive", {}),
        ("{{ messages }}</think>", None, {}),
        ("{{ messages }}</think>", "enabled", {}),
        ("{{ messages }}{{ reasoning_effort }}", "enabled", {"reasoning_effort": "medium"}),
        ("{{ messages }}", "enabled", None),
        ("{{ messages }}</think>", "disabled", {}),
    ],
)
async def test_thinking_is_translated_for_the_template(
    serve: Any, scripted: Any, template: str, thinking: str | None, variables: Any
) -> None:
    given = {"thinking": {"type": thinking, "budget_tokens": 1024}} if thinking else {}
    with serve(made(scripted, "Ok.", template)) as live:
        answer = await live.chat(**given)
        if variables is None:
            assert answer.status_code == 400
            assert "'thinking'" in answer.json()["error"]["message"]
            return
        ((_, arguments),) = live.model.prompts
    assert answer.status_code == 200
    assert arguments.variables == variables


@pytest.mark.parametrize(
    ("thinking", "more", "tokens"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, {"reasoning_budget"}, 1024),
        ({"type": "adaptive", "budget_tokens": 8}, {"reasoning_budget"}, 8),
        ({"type": "adaptive"}, {"reasoning_budget"}, None),
        ({"type": "disabled", "budget_tokens": 8}, {"reasoning_budget"}, None),
        ({"type": "enabled", "budget_tokens": 1024}, (), None),
    ],
)
async def test_the_budget_bounds_the_reasoning_where_the_engine_can(
    serve: Any, scripted: Any, thinking: Any, more: Any, tokens: int | None
) -> None:
    with serve(scripted("Ok.", supports=ALL | set(more), chat_template=QWEN3)) as live:
        answer = await live.chat(thinking=thinking)
        (sampling,) = live.model.asked
    assert answer.status_code == 200
    assert (sampling.reasoning and sampling.reasoning.tokens) == tokens


@pytest.mark.parametrize("field", ["output_config", "output_format"])
async def test_a_schema_is_enforced(serve: Any, scripted: Any, field: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    with serve(made(scripted, "{}")) as live:
        given = {"format": form} if field == "output_config" else form
        answer = await live.chat(**{field: given})
        besides = await live.chat(**{field: given}, tools=TOOLS)
        sampling, both = live.model.asked
    assert answer.json()["content"][0]["text"] == "{}"
    assert json.loads(sampling.grammar.source) == {"type": "object"}
    assert besides.json()["content"][0]["text"] == "{}"
    assert json.loads(both.grammar.parts[-1].source) == {"type": "object"}


async def test_an_error_of_a_schema_names_its_place(serve: Any, scripted: Any) -> None:
    tools = [{"name": "refused", "input_schema": {"type": "object"}, "strict": True}]
    with serve(made(scripted)) as live:
        answer = await live.chat(tools=tools)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tools[0].input_schema"


async def test_the_model_continues_a_last_message_of_its_own(serve: Any, scripted: Any) -> None:
    messages = [*HELLO["messages"], {"role": "assistant", "content": "The answer is ("}]
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    with serve(made(scripted, "B)")) as live:
        answer = await live.chat(messages=messages)
        refused = await live.chat(
            messages=[*HELLO["messages"], {"role": "assistant", "content": [call]}]
        )
        ((_, arguments),) = live.model.prompts
    assert answer.json()["content"][0]["text"] == "B)"
    assert (arguments.continues, arguments.begins_turn) == (True, False)
    assert refused.status_code == 400
    with serve(scripted()) as live:
        answer = await live.chat(messages=messages)
    assert answer.status_code == 400
    assert "hides its chat template" in answer.json()["error"]["message"]


async def test_a_tool_runner_continues_without_a_thread(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    """The client asks for a stored thread first, and sends all messages once that is refused."""
    seen: list[str] = []

    @beta_async_tool
    async def f(a: str) -> str:
        """A function.

        Args:
            a: A letter.
        """
        seen.append(a)
        return "Done."

    with serve(made(scripted, CALL)) as live:
        async with client_of(live) as client:
            runner = client.beta.messages.tool_runner(**HELLO, tools=[f], max_iterations=2)
            messages = [message async for message in runner]
        (_, second) = live.model.prompts
        refused = await live.chat(thread={"type": "create"})
    assert seen == ["é", "é"]
    assert [message.stop_reason for message in messages] == ["tool_use"] * 2
    assert [message["role"] for message in second[0]] == ["user", "assistant", "tool"]
    assert refused.json()["error"]["details"] == {
        "error_code": "thread_unsupported_request", "unsupported": ["thread"],
    }  # fmt: skip
