"""Bounds on the reasoning of chats, and reasoning in front of a format."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_server.protocols import FormatKind, NoReasoning, ReasoningBudget
from support.recorded_calls import json_of
from support.tool_chat import ALL, HERMES, QWEN3, TOOLS, made

BOUNDED = ALL | {"reasoning_budget"}
OPENED = ReasoningBudget(7, "<think>", "</think>", is_open=True)
JSON = {"response_format": {"type": "json_object"}}
REQUIRED = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
ON = {"reasoning_effort": "high"}


@pytest.mark.parametrize(
    ("ending", "fields", "budget"),
    [
        ("<think>\n", {"thinking_budget": 7}, OPENED),
        ("<think>\n", {"thinking_token_budget": 7, "n": 2}, OPENED),
        ("<think>\n", {"thinking_budget": 7, "thinking_token_budget": 9}, OPENED),
        ("", {"thinking_budget": 0}, ReasoningBudget(0, "<think>", "</think>")),
        ("", {"thinking_budget": -1}, None),
        ("", {"thinking_token_budget": None}, None),
        ("", {"thinking_budget": 7, "response_format": {"type": "json_object"}}, None),
        ("", {"thinking_budget": 7, "tools": TOOLS, "tool_choice": "required"}, None),
    ],
)
async def test_a_bound_on_the_reasoning(
    serve: Any, scripted: Any, ending: str, fields: dict[str, Any], budget: ReasoningBudget | None
) -> None:
    model = scripted("Hm.</think>", supports=BOUNDED, chat_template=QWEN3, ending=ending)
    with serve(model) as live:
        answer = await live.chat(**fields)
        found = [sampling.reasoning for sampling in live.model.asked]
    assert answer.status_code == 200
    assert found == [budget] * fields.get("n", 1)


@pytest.mark.parametrize("tools", [None, TOOLS])
async def test_a_bound_on_several_blocks_of_reasoning(
    serve: Any, scripted: Any, tools: Any
) -> None:
    answer = "<|end|><|start|>assistant<|channel|>final<|message|>"
    blocks = ("<|end|><|start|>assistant", answer) if tools else (answer,)
    text = f"<|channel|>analysis<|message|>Hm.{answer}Ok."
    template = "<|channel|><|message|>{{ messages }}{{ tools }}"
    supports = BOUNDED | {"reasoning_blocks"}
    with serve(scripted(text, supports=supports, chat_template=template)) as live:
        (choice,) = (await live.chat(thinking_budget=3, tools=tools)).json()["choices"]
        (sampling,) = live.model.asked
    message = choice["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Ok.")
    opening = "<|channel|>analysis<|message|>"
    assert sampling.reasoning == ReasoningBudget(3, opening, "<|end|>", blocks=blocks)


@pytest.mark.parametrize("name", ["thinking_budget", "thinking_token_budget"])
async def test_bounds_that_are_refused(serve: Any, scripted: Any, name: str) -> None:
    with serve(made(scripted, "Ok.")) as live:
        error = await live.refused(**{name: 5})
        assert (error["param"], error["code"]) == (name, "unsupported_parameter")
        assert "openvino, llamacpp, torch, vllm" in error["message"]
        assert (await live.chat(**{name: -1})).status_code == 200
        for wrong in (-2, 1.5, "5", True):
            assert (await live.refused(**{name: wrong}))["param"] == name
        assert len(live.model.asked) == 1
    template = "<|channel|><|message|>{{ messages }}"
    with serve(scripted("Ok.", supports=BOUNDED, chat_template=template)) as live:
        error = await live.refused(**{name: 5})
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")
    assert "openvino, torch" in error["message"]
    with serve(scripted("Ok.", supports=BOUNDED, chat_template="{{ messages }}")) as live:
        assert (await live.chat(**{name: 5})).status_code == 200
        assert live.model.asked[0].reasoning is None


@pytest.mark.parametrize("ending", ["", "<think>\n"])
@pytest.mark.parametrize(
    ("fields", "answer"), [(JSON, '{"a": 1}'), (REQUIRED, json_of(("f", {"a": 1})))]
)
async def test_reasoning_in_front_of_a_format(
    serve: Any, scripted: Any, fields: dict[str, Any], answer: str, ending: str
) -> None:
    begin = "" if ending else "<think>\n"
    model = made(scripted, f"{begin}Hm.</think>\n{answer}", ending=ending)
    with serve(model) as live:
        (choice,) = (await live.chat(**fields, **ON)).json()["choices"]
        (sampling,) = live.model.asked
        ((_, arguments),) = live.model.prompts
    message = choice["message"]
    assert message["reasoning_content"] == "Hm."
    if "tools" in fields:
        (call,) = message["tool_calls"]
        assert call["function"] == {"name": "f", "arguments": '{"a": 1}'}
    else:
        assert message["content"] == answer
    assert sampling.grammar.kind is FormatKind.CALLS
    assert sampling.grammar.source.startswith("start: mark_1" if begin else "start: until_0")
    assert arguments.no_reasoning is None
    assert arguments.variables == {"enable_thinking": True}


@pytest.mark.parametrize(
    ("template", "fields", "always"),
    [
        (HERMES + "</think>", JSON, False),
        (HERMES + "</think>", REQUIRED, False),
        (HERMES + "</think>", {"reasoning_effort": "none"}, True),
        (QWEN3, JSON | {"reasoning_effort": "none"}, False),
        (QWEN3, REQUIRED | {"chat_template_kwargs": {"enable_thinking": False}}, False),
    ],
)
async def test_a_prompt_that_ends_the_reasoning(
    serve: Any, scripted: Any, template: str, fields: dict[str, Any], always: bool
) -> None:
    with serve(made(scripted, "{}", template)) as live:
        assert (await live.chat(**fields)).status_code == 200
        ((_, arguments),) = live.model.prompts
    assert arguments.no_reasoning == NoReasoning("<think>", "</think>", always)
