"""Logarithmic probabilities of completions."""

from __future__ import annotations

import math
from typing import Any

import pytest

SUPPORTS = frozenset({"logprobs", "logit_bias"})
HALF, QUARTER = math.log(0.5), math.log(0.25)


async def test_every_token_has_a_place(serve: Any, scripted: Any) -> None:
    model = scripted(text="axö", supports=SUPPORTS)
    with serve(model) as live:
        [choice] = (await live.chat(logprobs=2)).json()["choices"]
        [bare] = (await live.chat(logprobs=0)).json()["choices"]
        await live.idle()
    assert choice["text"] == "axö"
    assert choice["logprobs"] == {
        "tokens": ["a", "x", "bytes:\\xc3", "bytes:\\xb6"],
        "token_logprobs": [HALF] * 4,
        "top_logprobs": [
            {"a": HALF, "x": QUARTER}, {"x": HALF},
            {"bytes:\\xc3": HALF, "x": QUARTER}, {"bytes:\\xb6": HALF, "x": QUARTER},
        ],
        "text_offset": [0, 1, 2, 2],
    }  # fmt: skip
    assert bare["logprobs"]["top_logprobs"][0] == {"a": HALF}
    assert [sampling.logprobs for sampling in model.asked] == [2, 0]


async def test_tokens_of_a_stop_string_are_left_out(serve: Any, scripted: Any) -> None:
    with serve(scripted(text="one END two", supports=SUPPORTS)) as live:
        [choice] = (await live.chat(logprobs=0, stop=["END"])).json()["choices"]
        await live.idle()
    assert choice["text"] == "".join(choice["logprobs"]["tokens"]) == "one "


async def test_they_are_streamed_with_their_text(serve: Any, scripted: Any) -> None:
    with serve(scripted(text="so EN ö", supports=SUPPORTS)) as live:
        options = {"logprobs": 0, "stop": ["END"], "n": 2}
        chunks = [chunk async for chunk in live.events(**options) if chunk != "[DONE]"]
        await live.idle()
    for index in range(2):
        text, offsets = "", []
        for choice in (each for chunk in chunks for each in chunk["choices"]):
            if choice["index"] == index and (scores := choice["logprobs"]):
                # A token comes with the text that begins with it.
                assert all(at >= len(text) for at in scores["text_offset"])
                offsets += scores["text_offset"]
            if choice["index"] == index:
                text += choice["text"]
        assert text == "so EN ö"
        assert offsets == [0, 1, 2, 3, 4, 5, 6, 6]


async def test_an_echoed_prompt_needs_an_engine_with_its_probabilities(
    serve: Any, scripted: Any
) -> None:
    with serve(scripted(supports=SUPPORTS)) as live:
        error = await live.refused(logprobs=1, echo=True)
    assert error["param"] == "echo"
    assert "torch" in error["message"]


async def test_the_probabilities_of_a_prompt_are_those_of_one_choice(
    serve: Any, scripted: Any
) -> None:
    with serve(scripted(supports=SUPPORTS | {"prompt_logprobs"})) as live:
        error = await live.refused(logprobs=1, echo=True, n=2)
        whole = await live.chat(logprobs=1, n=2)
    assert error["param"] == "n"
    assert len(whole.json()["choices"]) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_an_echoed_prompt_has_its_probabilities(
    serve: Any, scripted: Any, stream: bool
) -> None:
    """The first token, which begins every text, has none and is not shown."""
    model = scripted(text="c", supports=SUPPORTS | {"prompt_logprobs"})
    with serve(model) as live:
        fields = {"prompt": "aö", "logprobs": 0, "echo": True}
        if stream:
            chunks = [chunk async for chunk in live.events(**fields) if chunk != "[DONE]"]
            choices = [choice for chunk in chunks for choice in chunk["choices"]]
            [scores] = [choice["logprobs"] for choice in choices if choice["logprobs"]]
        else:
            [choice] = (await live.chat(**fields)).json()["choices"]
            assert choice["text"] == "aöc"
            scores = choice["logprobs"]
        await live.idle()
    assert scores == {
        "tokens": ["<s>", "a", "bytes:\\xc3", "bytes:\\xb6", "c"],
        "token_logprobs": [None, *[HALF] * 4],
        "top_logprobs": [
            None, {"a": HALF}, {"bytes:\\xc3": HALF}, {"bytes:\\xb6": HALF}, {"c": HALF},
        ],
        "text_offset": [0, 0, 1, 1, 2],
    }  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_each_prompt_has_its_own_probabilities(
    serve: Any, scripted: Any, stream: bool
) -> None:
    fields = {"prompt": ["ab", "x"], "logprobs": 0, "echo": True}
    with serve(scripted(text="c", supports=SUPPORTS | {"prompt_logprobs"})) as live:
        if stream:
            chunks = [chunk async for chunk in live.events(**fields) if chunk != "[DONE]"]
            choices = [each for chunk in chunks for each in chunk["choices"] if each["logprobs"]]
            choices.sort(key=lambda choice: choice["index"])
        else:
            choices = (await live.chat(**fields)).json()["choices"]
        await live.idle()
    assert [choice["logprobs"]["tokens"] for choice in choices] == [
        ["<s>", "a", "b", "c"], ["<s>", "x", "c"],
    ]  # fmt: skip
    assert [choice["logprobs"]["text_offset"] for choice in choices] == [
        [0, 0, 1, 2], [0, 0, 1],
    ]  # fmt: skip


async def test_the_probabilities_of_several_prompts_are_limited(serve: Any, scripted: Any) -> None:
    model = scripted(context_length=30_000, supports=SUPPORTS | {"prompt_logprobs"})
    with serve(model) as live:
        fields = {"prompt": [[5] * 20_000] * 2, "logprobs": 0, "max_tokens": 1}
        error = await live.refused(**fields, echo=True)
        assert (await live.chat(**fields)).status_code == 200
        await live.idle()
    assert (error["param"], "40000 tokens together" in error["message"]) == ("prompt", True)


@pytest.mark.parametrize(
    ("bias", "asked"), [({"7": -100, "8": 0.5}, {7: -100.0, 8: 0.5}), ({}, {})]
)
async def test_bias(serve: Any, scripted: Any, bias: Any, asked: dict[int, float]) -> None:
    with serve(model := scripted(supports=SUPPORTS)) as live:
        await live.chat(logit_bias=bias)
        error = await live.refused(logit_bias={"257": 1})
        await live.idle()
    assert model.asked[0].logit_bias == asked
    assert error["param"] == "logit_bias"
    assert "0 to 256" in error["message"]


async def test_more_sampling_is_a_setting(serve: Any, scripted: Any) -> None:
    more = {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1}
    supports = frozenset(more)
    with serve(model := scripted(supports=supports), limits={"extraSampling": True}) as live:
        await live.chat(**more)
        await live.idle()
    [sampling] = model.asked
    assert {name: getattr(sampling, name) for name in more} == more
