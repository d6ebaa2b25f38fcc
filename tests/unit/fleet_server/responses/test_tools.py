"""Function calls and reasoning of responses, as the official client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.recorded_calls import json_of

QWEN3 = "{{ tools }}<tool_call></tool_call></think>{{ enable_thinking }}"
ALL = frozenset({"tools", "response_format", "json_schema", "grammar"})
TOOLS = [
    {
        "type": "function", "name": name, "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    for name in ("f", "g")
]  # fmt: skip
CALL = f"<tool_call>\n{json_of(('f', {'a': 'é'}))}\n</tool_call>"
OUTPUT = f"<think>Hm.</think>Ok.{CALL}{CALL}"
USER = {"role": "user", "content": "hello"}
CALLED = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}


def made(scripted: Any, text: str) -> Any:
    return scripted(text, supports=ALL, chat_template=QWEN3)


def check(output: list[Any]) -> None:
    reasoning, message, *calls = output
    assert (reasoning.type, reasoning.content[0].text, reasoning.summary) == (
        "reasoning", "Hm.", [],
    )  # fmt: skip
    assert message.content[0].text == "Ok."
    assert [(call.type, call.name, json.loads(call.arguments)) for call in calls] == [
        ("function_call", "f", {"a": "é"})
    ] * 2
    assert len({call.call_id for call in calls} | {call.id for call in calls}) == 4
    assert all(item.status == "completed" for item in output)


async def test_a_response_has_an_item_for_each_part(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    with serve(made(scripted, OUTPUT)) as live:
        async with client_of(live) as client:
            answer = await client.responses.create(
                model="scripted", input="hello", tools=TOOLS, reasoning={"effort": "low"}
            )
        ((_, arguments),) = live.model.prompts
    check(answer.output)
    type(answer).model_validate(answer.model_dump())
    assert answer.output_text == "Ok."
    assert answer.usage.output_tokens_details.reasoning_tokens > 2
    assert answer.reasoning.effort == "low"
    assert [tool.name for tool in answer.tools] == ["f", "g"]
    assert answer.tool_choice == "auto"
    assert [tool["function"]["name"] for tool in arguments.tools] == ["f", "g"]
    assert arguments.variables == {"enable_thinking": True}


async def test_a_stream_has_the_events_of_each_item(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    with serve(made(scripted, OUTPUT)) as live:
        async with client_of(live) as client:
            stream = await client.responses.create(
                model="scripted", input="hello", tools=TOOLS, stream=True
            )
            events: list[Any] = [event async for event in stream]
    for event in events:
        type(event).model_validate(event.model_dump())
    check(events[-1].response.output)
    kinds = [event.type.removeprefix("response.") for event in events]
    assert [kind for kind, last in zip(kinds, ["", *kinds], strict=False) if kind != last] == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done",
        *["output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
          "output_item.done"] * 2,
        "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    ids = {item.id: index for index, item in enumerate(events[-1].response.output)}
    for event in events:
        if hasattr(event, "item_id"):
            assert ids[event.item_id] == event.output_index


async def test_the_clients_own_accumulation_agrees(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    tools: Any = [{**tool, "strict": True} for tool in TOOLS]
    with serve(made(scripted, OUTPUT)) as live:
        async with (
            client_of(live) as client,
            client.responses.stream(model="scripted", input="hello", tools=tools) as stream,
        ):
            async for _ in stream:
                pass
            check((await stream.get_final_response()).output)


async def test_a_required_call_follows_a_grammar(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, json_of(("g", {"a": 1})))) as live:
        choice = {"type": "function", "name": "g"}
        body = (await live.chat(tools=TOOLS, tool_choice=choice)).json()
        (sampling,) = live.model.asked
    (part,) = sampling.grammar.parts
    assert part.param == "tools[1].parameters"
    (item,) = body["output"]
    assert (item["type"], item["arguments"]) == ("function_call", '{"a": 1}')
    assert body["tool_choice"] == choice


async def test_calls_and_their_outputs_are_one_turn_of_the_model(serve: Any, scripted: Any) -> None:
    other = {**CALLED, "call_id": "c2", "name": "g", "arguments": ""}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    parts = {**RESULT, "call_id": "c2", "output": [{"type": "input_text", "text": "cold"}]}
    given = [USER, reasoning, {"role": "assistant", "content": "Ok."}, CALLED, other, RESULT, parts]
    with serve(made(scripted, "x")) as live:
        assert (await live.chat(input=given)).status_code == 200
        ((messages, _),) = live.model.prompts
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[1]["content"] == "Ok."
    assert [call["function"] for call in messages[1]["tool_calls"]] == [
        {"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}},
    ]  # fmt: skip
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "name": "g", "content": "cold"},
    ]


async def test_calls_have_the_namespace_of_their_function(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    tools: Any = [{"type": "namespace", "name": "crm", "tools": TOOLS}, TOOLS[1]]
    earlier = {**CALLED, "namespace": "crm"}
    text = "".join(f"<tool_call>\n{json_of((name, {}))}\n</tool_call>" for name in ("crm__f", "g"))
    with serve(made(scripted, text)) as live:
        async with client_of(live) as client:
            answer = await client.responses.create(
                model="scripted", input=[USER, earlier, RESULT], tools=tools
            )
            stream = await client.responses.create(
                model="scripted", input="hello", tools=tools, stream=True
            )
            events: list[Any] = [event async for event in stream]
        messages, arguments = live.model.prompts[0]
    assert [tool["function"]["name"] for tool in arguments.tools] == ["crm__f", "crm__g", "g"]
    assert messages[1]["tool_calls"][0]["function"]["name"] == "crm__f"
    assert messages[2]["name"] == "crm__f"
    added = [event.item for event in events if event.type == "response.output_item.added"]
    for calls in (answer.output, events[-1].response.output, added):
        assert [(call.namespace, call.name) for call in calls] == [("crm", "f"), (None, "g")]
    assert answer.tools[0].description == ""
    assert [tool.name for tool in answer.tools[0].tools] == ["f", "g"]


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ({**CALLED, "call_id": None}, "input[1].call_id", "invalid_value"),
        ({**CALLED, "name": ""}, "input[1].name", "invalid_value"),
        ({**CALLED, "namespace": 5}, "input[1].namespace", "invalid_value"),
        ({**CALLED, "arguments": {}}, "input[1].arguments", "invalid_value"),
        ({**CALLED, "arguments": "[1]"}, "input[1].arguments", "invalid_arguments"),
        ({**RESULT, "call_id": 5}, "input[1].call_id", "invalid_value"),
        ({**RESULT, "output": None}, "input[1].output", "invalid_value"),
        ({**RESULT, "output": [{"type": "x"}]}, "input[1].output[0].type", "invalid_value"),
        ({"role": "tool", "content": "x"}, "input[1].role", "invalid_value"),
        ({"type": "item_reference", "id": "x"}, "input[1].type", "unsupported_parameter"),
    ],
)
async def test_wrong_items_are_refused(
    serve: Any, scripted: Any, item: dict[str, Any], param: str, code: str
) -> None:
    with serve(made(scripted, "x")) as live:
        error = await live.refused(input=[USER, item])
    assert (error["param"], error["code"]) == (param, code)


async def test_engines_without_tools_refuse_them(serve: Any) -> None:
    with serve() as live:
        assert (await live.refused(tools=TOOLS))["param"] == "tools"
        assert (await live.refused(input=[USER, CALLED, RESULT]))["param"] == "input"
        assert (await live.refused(reasoning={"effort": "low"}))["param"] == "reasoning"


async def test_a_response_that_is_cut_off(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, OUTPUT)) as live:
        body = (await live.chat(tools=TOOLS, max_output_tokens=9)).json()
        events = [event async for event in named_events(live, max_output_tokens=9)]
    assert body["status"] == "incomplete"
    (item,) = body["output"]
    assert (item["type"], item["status"]) == ("reasoning", "incomplete")
    assert events[-1]["response"]["output"][0]["content"] == item["content"]


async def named_events(live: Any, **fields: Any) -> Any:
    """The events of a stream."""
    answer = await live.chat(stream=True, **fields)
    for line in answer.text.splitlines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
