"""Logarithmic probabilities of responses."""

from __future__ import annotations

import json
from typing import Any

SUPPORTS = frozenset({"logprobs", "tools"})
INCLUDE = ["message.output_text.logprobs"]


async def test_the_text_has_them(serve: Any, scripted: Any) -> None:
    with serve(scripted(text="hi", supports=SUPPORTS)) as live:
        body = (await live.chat(include=INCLUDE, top_logprobs=1)).json()
        plain = (await live.chat()).json()
        await live.idle()
    [part] = body["output"][0]["content"]
    assert [token["token"] for token in part["logprobs"]] == ["h", "i"]
    assert [len(token["top_logprobs"]) for token in part["logprobs"]] == [1, 1]
    assert plain["output"][0]["content"][0]["logprobs"] == []


async def test_they_are_streamed(serve: Any, scripted: Any) -> None:
    with serve(scripted(text="hi", supports=SUPPORTS)) as live:
        answer = await live.chat(include=INCLUDE, stream=True)
        await live.idle()
    events = [json.loads(line[6:]) for line in answer.text.splitlines()
              if line.startswith("data: ")]  # fmt: skip
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    [done] = [event for event in events if event["type"] == "response.output_text.done"]
    tokens = [token for event in deltas for token in event["logprobs"]]
    assert [token["token"] for token in tokens] == ["h", "i"]
    assert done["logprobs"] == tokens
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == tokens


async def test_each_part_has_those_of_its_own_tokens(serve: Any, scripted: Any) -> None:
    model = scripted(
        text='<think>a</think>b <tool_call>{"name": "f", "arguments": {}}</tool_call>',
        supports=SUPPORTS, chat_template="{{ tools }}<think></think><tool_call></tool_call>",
    )  # fmt: skip
    wanted = {"include": INCLUDE, "tools": [{"type": "function", "name": "f"}]}
    with serve(model) as live:
        whole = (await live.chat(**wanted)).json()
        streamed = await live.chat(**wanted, stream=True)
        plain = (await live.chat(tools=wanted["tools"])).json()
        await live.idle()
    last = [line for line in streamed.text.splitlines() if line.startswith("data: ")][-1]
    for body in (whole, json.loads(last[6:])["response"]):
        thought, message, call = body["output"]
        texts = [
            "".join(token["token"] for token in item["content"][0]["logprobs"])
            for item in (thought, message)
        ]
        assert texts == ["<think>a</think>", "b"]
        assert call["type"] == "function_call"
    assert "logprobs" not in plain["output"][0]["content"][0]


async def test_what_is_refused(serve: Any, scripted: Any) -> None:
    with serve(scripted(supports=SUPPORTS)) as live:
        assert (await live.refused(top_logprobs=2))["param"] == "top_logprobs"
        assert (await live.refused(include=["file_search_call.results"]))["param"] == "include[0]"
    with serve() as live:
        assert (await live.refused(include=INCLUDE))["param"] == "include"
