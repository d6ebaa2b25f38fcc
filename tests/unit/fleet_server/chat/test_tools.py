"""Tools of chats, and reasoning beside their calls, from the request to the response."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract.names import HEADER_UNENFORCED
from fleet_server.protocols import NO_ARGUMENTS, FormatKind
from support.recorded_calls import json_of
from support.tool_chat import ALL, HELLO, HERMES, QWEN3, TOOLS, made

DEEPSEEK = "{{ tools }}<｜tool▁calls▁begin｜>{{ 'a' + tool['function']['arguments'] + 'b' }}"
CALL = f"<tool_call>\n{json_of(('f', {'a': 'é'}))}\n</tool_call>"
TURN: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [
        {"id": "x1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "x1", "content": [{"type": "text", "text": "sunny"}]}


async def deltas(live: Any, **fields: Any) -> list[dict[str, Any]]:
    found = [event async for event in live.events(**fields)]
    assert found.pop() == "[DONE]"
    return [event["choices"][0] for event in found]


async def test_calls_and_reasoning_in_a_response(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, f"<think>\nHm.\n</think>\n\nOk.\n{CALL}\n{CALL}")) as live:
        body = (await live.chat(tools=TOOLS)).json()
        ((_, arguments),) = live.model.prompts
    (choice,) = body["choices"]
    message = choice["message"]
    ids = [call.pop("id") for call in message["tool_calls"]]
    assert len(set(ids)) == 2
    assert choice["finish_reason"] == "tool_calls"
    call = {"type": "function", "function": {"name": "f", "arguments": '{"a": "é"}'}}
    assert message == {
        "role": "assistant", "content": "Ok.", "refusal": None, "reasoning_content": "Hm.",
        "reasoning": "Hm.", "tool_calls": [call, call],
    }  # fmt: skip
    assert arguments.tools == TOOLS
    details = body["usage"]["completion_tokens_details"]
    assert 3 <= details["reasoning_tokens"] <= len("<think>\nHm.\n</think>")


async def test_calls_and_reasoning_in_a_stream(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, f"<think>\nHm.\n</think>\n\nOk.\n{CALL}")) as live:
        choices = await deltas(live, tools=TOOLS)
    parts = [choice["delta"] for choice in choices]
    assert "".join(part.get("reasoning_content", "") for part in parts) == "Hm."
    assert all(part.get("reasoning_content") == part.get("reasoning") for part in parts)
    assert "".join(part.get("content", "") for part in parts) == "Ok."
    calls = [call for part in parts for call in part.get("tool_calls", [])]
    assert calls[0]["id"].startswith("call_")
    assert calls[0]["function"] == {"name": "f", "arguments": ""}
    assert all(set(call) == {"index", "function"} for call in calls[1:])
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a": "é"}'
    assert choices[-1]["finish_reason"] == "tool_calls"
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)


async def test_the_official_client_reads_a_stream(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    # The client's helper only takes functions that are strict.
    tools: Any = [{**each, "function": {**each["function"], "strict": True}} for each in TOOLS]
    messages: Any = [HELLO]
    with serve(made(scripted, f"<think>Hm.</think>{CALL}")) as live:
        async with (
            client_of(live) as client,
            client.chat.completions.stream(
                model="scripted", messages=messages, tools=tools
            ) as stream,
        ):
            kinds = [event.type async for event in stream]
            final = await stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments) == {"a": "é"}


async def test_one_call_if_calls_are_not_parallel(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, f"{CALL}{CALL} and more")) as live:
        answer = (await live.chat(tools=TOOLS, parallel_tool_calls=False)).json()
        assert live.model.running[0].cancelled.is_set()
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1
    assert answer["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize("more", [{}, {"tools": TOOLS, "tool_choice": "none"}])
async def test_calls_without_tools_are_text(
    serve: Any, scripted: Any, more: dict[str, Any]
) -> None:
    with serve(made(scripted, CALL)) as live:
        (choice,) = (await live.chat(**more)).json()["choices"]
        assert live.model.prompts[0][1].tools == []
    assert choice["message"]["content"] == CALL
    assert choice["finish_reason"] == "stop"


async def test_a_required_call_follows_a_grammar(serve: Any, scripted: Any) -> None:
    text = json_of(("g", {"a": "}"})) + "never reached"
    for template in (QWEN3, ""):
        with serve(made(scripted, text, template)) as live:
            one = {"tool_choice": "required", "parallel_tool_calls": False}
            (choice,) = (await live.chat(tools=TOOLS, **one)).json()["choices"]
            (sampling,) = live.model.asked
            ((_, arguments),) = live.model.prompts
        assert choice["finish_reason"] == "tool_calls"
        (call,) = choice["message"]["tool_calls"]
        assert call["function"] == {"name": "g", "arguments": '{"a": "}"}'}
        assert sampling.grammar.kind is FormatKind.CALLS
        assert len(sampling.grammar.parts) == 2
        assert arguments.variables == ({"enable_thinking": False} if template else {})


async def test_several_required_calls(serve: Any, scripted: Any) -> None:
    calls = [("g", {"a": "}"}), ("f", {"a": "é"})]
    with serve(made(scripted, "\n".join(map(json_of, calls)))) as live:
        (choice,) = (await live.chat(tools=TOOLS, tool_choice="required")).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    found = [each["function"] for each in choice["message"]["tool_calls"]]
    assert [(each["name"], json.loads(each["arguments"])) for each in found] == calls
    assert choice["message"]["content"] is None


async def test_calls_of_strict_tools_follow_a_grammar_besides_text(
    serve: Any, scripted: Any
) -> None:
    strict = [{**TOOLS[0], "function": {**TOOLS[0]["function"], "strict": True}}]
    with serve(made(scripted, f"<think>Hm.</think>Ok.{CALL}")) as live:
        answer = await live.chat(tools=strict)
        (sampling,) = live.model.asked
        ((_, arguments),) = live.model.prompts
    assert sampling.grammar.free
    assert arguments.variables == {}
    message = answer.json()["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Ok.")
    assert len(message["tool_calls"]) == 1
    assert HEADER_UNENFORCED not in answer.headers
    with serve(made(scripted, "x", "{{ tools }}<|tool_call>")) as live:
        answer = await live.chat(tools=strict)
        (sampling,) = live.model.asked
    assert "call:" in sampling.grammar.source
    assert HEADER_UNENFORCED not in answer.headers


async def test_a_format_or_a_call(serve: Any, scripted: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    for text, finish in ((CALL, "tool_calls"), ('{"a": [1]}', "stop")):
        with serve(made(scripted, text)) as live:
            (choice,) = (await live.chat(tools=TOOLS, response_format=form)).json()["choices"]
        assert choice["finish_reason"] == finish
        assert choice["message"]["content"] == (None if finish == "tool_calls" else text)


async def test_harmony(serve: Any, scripted: Any) -> None:
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
        'to=functions.f <|constrain|>json<|message|>{"a": "é"}'
    )
    template = "{{ tools }}{{ messages }}<|start|><|channel|><|message|>"
    with serve(made(scripted, text, template)) as live:
        body = (await live.chat(tools=TOOLS)).json()
    (choice,) = body["choices"]
    assert choice["message"]["reasoning_content"] == "Hm."
    assert [each["function"]["name"] for each in choice["message"]["tool_calls"]] == ["f"]
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_a_call_that_is_cut_off(serve: Any, scripted: Any) -> None:
    fields = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 32}
    with serve(made(scripted, json_of(("f", {"a": "long"})))) as live:
        (choice,) = (await live.chat(**fields)).json()["choices"]
        last = (await deltas(live, **fields))[-1]
    assert choice["finish_reason"] == last["finish_reason"] == "length"
    assert choice["message"]["content"] == json_of(("f", {"a": "long"}))[:32]
    assert "tool_calls" not in choice["message"]


async def test_the_prompt_may_open_the_reasoning(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, "Hm.</think>Yes.", ending="assistant\n<think>\n")) as live:
        message = (await live.chat()).json()["choices"][0]["message"]
        choices = await deltas(live)
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Yes.")
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Yes."


async def test_a_schema_of_the_response_is_not_reasoning(serve: Any, scripted: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    with serve(made(scripted, "{}", ending="<think>")) as live:
        body = (await live.chat(response_format=form)).json()
    assert body["choices"][0]["message"]["content"] == "{}"


async def test_variables_and_effort_reach_the_template(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, "x")) as live:
        await live.chat(chat_template_kwargs={"enable_thinking": False, "unknown": 1})
        await live.chat(reasoning_effort="none")
        await live.chat()
        found = [arguments.variables for _, arguments in live.model.prompts]
        error = await live.refused(chat_template_kwargs={"enable_thinking": [1]})
        assert error["param"].startswith("chat_template_kwargs")
    assert found == [{"enable_thinking": False}, {"enable_thinking": False}, {}]


@pytest.mark.parametrize(("template", "arguments"), [(HERMES, {"a": 1}), (DEEPSEEK, '{"a": 1}')])
async def test_templates_get_the_history_of_calls(
    serve: Any, scripted: Any, template: str, arguments: Any
) -> None:
    with serve(made(scripted, "x", template)) as live:
        assert (await live.chat(messages=[HELLO, TURN, RESULT])).status_code == 200
        ((messages, _),) = live.model.prompts
    (call,) = messages[1]["tool_calls"]
    assert call == {"id": "x1", "type": "function",
                    "function": {"name": "f", "arguments": arguments}}  # fmt: skip
    assert messages[1]["content"] == ""
    assert messages[2] == {"role": "tool", "tool_call_id": "x1", "name": "f", "content": "sunny"}


async def test_templates_without_tools_get_text(serve: Any, scripted: Any) -> None:
    with serve(made(scripted, json_of(("f", {})), "{{ messages }}")) as live:
        answer = await live.chat(messages=[HELLO, TURN, RESULT], tools=TOOLS)
        ((messages, arguments),) = live.model.prompts
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert '"name": "g"' in messages[0]["content"]
    assert list(arguments.tools) == []
    assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"


def with_call(**more: Any) -> list[Any]:
    return [HELLO, {"role": "assistant", "tool_calls": [{**TURN["tool_calls"][0], **more}]}]


@pytest.mark.parametrize(
    ("messages", "param", "code"),
    [
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id", "invalid_value"),
        ([{**RESULT, "tool_call_id": ""}], "messages[0].tool_call_id", "invalid_value"),
        ([{**RESULT, "content": None}], "messages[0].content", "invalid_value"),
        ([{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls", "invalid_value"),
        ([{"role": "assistant", "tool_calls": 0}], "messages[0].tool_calls", "invalid_value"),
        ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls", "invalid_value"),
        ([{"role": "assistant", "reasoning_content": 0}], "messages[0].reasoning_content",
         "invalid_value"),
        ([{"role": "assistant", "tool_calls": ["x"]}], "messages[0].tool_calls[0]",
         "invalid_value"),
        ([{"role": "assistant", "tool_calls": [{}] * 129}], "messages[0].tool_calls",
         "invalid_value"),
        (with_call(id=None), "messages[1].tool_calls[0].id", "invalid_value"),
        (with_call(type="custom"), "messages[1].tool_calls[0].type", "invalid_value"),
        (with_call(function=None), "messages[1].tool_calls[0].function", "invalid_value"),
        (with_call(function={"arguments": ""}), "messages[1].tool_calls[0].function.name",
         "invalid_value"),
        (with_call(function={"name": "f", "arguments": {}}),
         "messages[1].tool_calls[0].function.arguments", "invalid_value"),
        (with_call(function={"name": "f", "arguments": "{"}),
         "messages[1].tool_calls[0].function.arguments", "invalid_arguments"),
        (with_call(function={"name": "f", "arguments": "[]"}),
         "messages[1].tool_calls[0].function.arguments", "invalid_arguments"),
        # As deep as orjson reads and json does not write.
        (with_call(function={"name": "f", "arguments": '{"a":' * 1000 + "1" + "}" * 1000}),
         "messages[1].tool_calls[0].function.arguments", "invalid_arguments"),
        ([{"role": "assistant", "content": "x", "reasoning_content": 5}],
         "messages[0].reasoning_content", "invalid_value"),
        ([{"role": "assistant", "content": "x", "reasoning": 5}],
         "messages[0].reasoning", "invalid_value"),
    ],
)  # fmt: skip
async def test_wrong_histories_are_refused(
    serve: Any, scripted: Any, messages: list[Any], param: str, code: str
) -> None:
    with serve(made(scripted, "x")) as live:
        error = await live.refused(messages=messages)
    assert (error["param"], error["code"]) == (param, code)


async def test_earlier_reasoning_has_two_names(serve: Any, scripted: Any) -> None:
    """Clients return it under the one that they read in the response."""
    made = [{"content": "x", "reasoning": "a"}, {"reasoning_content": "b", "reasoning": "c"},
            {"content": "x", "reasoning": None}]  # fmt: skip
    messages = [HELLO, *({"role": "assistant", **each} for each in made), HELLO]
    with serve(scripted("x", supports=ALL, chat_template=QWEN3)) as live:
        assert (await live.chat(messages=messages)).status_code == 200
        ((found, _),) = live.model.prompts
    assert [message.get("reasoning_content") for message in found[1:-1]] == ["a", "b", None]


async def test_calls_count_as_text(serve: Any, scripted: Any) -> None:
    long = with_call(function={"name": "f", "arguments": json.dumps({"a": "x" * 100})})
    with serve(made(scripted, "x"), limits={"maxTextChars": 100}) as live:
        answer = await live.chat(messages=long)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": TOOLS}, "tools"),
        ({"messages": [HELLO, TURN, RESULT]}, "messages"),
        ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
    ],
)
async def test_engines_without_tools_refuse_them(
    serve: Any, fields: dict[str, Any], param: str
) -> None:
    with serve() as live:
        error = await live.refused(**fields)
        assert live.model.asked == []
    assert (error["param"], error["code"]) == (param, "unsupported_parameter")


async def test_an_engine_without_grammars_calls_if_it_wants(serve: Any, scripted: Any) -> None:
    with serve(scripted(CALL, supports=frozenset({"tools"}), chat_template=HERMES)) as live:
        error = await live.refused(tools=TOOLS, tool_choice="required")
        assert error["param"] == "tool_choice"
        assert "openvino" in error["message"]
        (choice,) = (await live.chat(tools=TOOLS)).json()["choices"]
        assert live.model.prompts[0][1] != NO_ARGUMENTS
    assert choice["finish_reason"] == "tool_calls"
