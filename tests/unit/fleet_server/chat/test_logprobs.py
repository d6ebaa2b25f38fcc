"""Logarithmic probabilities of chats."""

from __future__ import annotations

import math
from typing import Any

SUPPORTS = frozenset({"logprobs", "tools"})
HALF, QUARTER = math.log(0.5), math.log(0.25)


def entry(byte: int, text: str, *top: tuple[str, float]) -> dict[str, Any]:
    others = [
        {"token": name, "logprob": value, "bytes": list(name.encode())} for name, value in top
    ]
    return {"token": text, "logprob": HALF, "bytes": [byte], "top_logprobs": others}


async def test_the_content_has_every_token(serve: Any, scripted: Any) -> None:
    with serve(scripted(text="aö", supports=SUPPORTS)) as live:
        [choice] = (await live.chat(logprobs=True)).json()["choices"]
        [more] = (await live.chat(logprobs=True, top_logprobs=2)).json()["choices"]
        [none] = (await live.chat()).json()["choices"]
        await live.idle()
    assert choice["logprobs"] == {
        "content": [entry(97, "a"), entry(0xC3, "bytes:\\xc3"), entry(0xB6, "bytes:\\xb6")],
        "refusal": None,
    }
    assert more["logprobs"]["content"][0] == entry(97, "a", ("a", HALF), ("x", QUARTER))
    assert none["logprobs"] is None


async def test_a_stream_has_each_token_once(serve: Any, scripted: Any) -> None:
    with serve(scripted(text="one END two", supports=SUPPORTS)) as live:
        options = {"logprobs": True, "stop": ["END"]}
        chunks = [chunk async for chunk in live.events(**options) if chunk != "[DONE]"]
        await live.idle()
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    scored = [each["logprobs"]["content"] for each in choices if each["logprobs"]]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == "".join(token["token"] for part in scored for token in part) == "one "


async def test_alternatives_need_probabilities(serve: Any, scripted: Any) -> None:
    with serve(scripted(supports=SUPPORTS)) as live:
        assert (await live.refused(top_logprobs=2))["param"] == "top_logprobs"
        assert (await live.refused(logprobs=True, top_logprobs=21))["param"] == "top_logprobs"
        answer = await live.chat(top_logprobs=0)
        assert answer.status_code == 200
        await live.idle()
    with serve() as live:
        error = await live.refused(logprobs=True)
    assert error["param"] == "logprobs"
    assert "openvino, llamacpp (without 'speculative'), torch, vllm" in error["message"]
