"""Text completions of several prompts."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

START = 256


@pytest.mark.parametrize("stream", [False, True])
async def test_several_prompts_are_groups_of_choices(
    serve: Any, scripted: Any, stream: bool
) -> None:
    fields = {"prompt": ["hé", "b"], "n": 2, "echo": True, "max_tokens": 5, "seed": 7}
    with serve(scripted(max_concurrent=1)) as live:
        if stream:
            options = {"include_usage": True}
            events = live.events(**fields, stream_options=options)
            *chunks, last, _ = [event async for event in events]
            texts, usage = ["", "", "", ""], last["usage"]
            for chunk in chunks:
                (choice,) = chunk["choices"]
                texts[choice["index"]] += choice["text"]
        else:
            body = (await live.chat(**fields)).json()
            assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
            texts, usage = [choice["text"] for choice in body["choices"]], body["usage"]
        await live.idle()
        # One after the other: there is one slot. Both choices of a prompt have seeds of their own.
        assert sorted(sampling.seed for sampling in live.model.asked) == [7, 7, 8, 8]
    assert live.model.read == [[START, *"hé".encode()], [START, *b"b"]]
    assert texts == ["héHello", "héHello", "bHello", "bHello"]
    assert usage == {"prompt_tokens": 6, "completion_tokens": 20, "total_tokens": 26}


async def test_several_lists_of_token_ids(serve: Any) -> None:
    with serve() as live:
        body = (await live.chat(prompt=[[104, 105], [106]], echo=True, max_tokens=1)).json()
        await live.idle()
    assert [choice["text"] for choice in body["choices"]] == ["hiH", "jH"]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"prompt": ["a"] * 17}, "prompt", "17 prompts; at most 16"),
        ({"prompt": ["a"] * 6, "n": 3}, "n", "6 prompts; at most 16 choices"),
        ({"prompt": ["a", ""]}, "prompt[1]", "empty"),
        ({"prompt": [[1], []]}, "prompt[1]", "empty"),
        ({"prompt": [[1], ["a"]]}, "prompt[1]", "token ids"),
        ({"prompt": [[1], [257]]}, "prompt[1]", "0 to 256"),
        ({"prompt": [[1], [5] * 20]}, "prompt[1]", "20 tokens; at most 12"),
    ],
)
async def test_errors_name_the_prompt(
    serve: Any, scripted: Any, fields: dict[str, Any], param: str, words: str
) -> None:
    with serve(scripted(context_length=13)) as live:
        error = await live.refused(**fields)
        assert live.model.asked == []
    assert error["param"] == param
    assert words in error["message"]


async def test_the_characters_of_all_prompts_count(serve: Any) -> None:
    with serve(limits={"maxTextChars": 5}) as live:
        assert (await live.chat(prompt=["abc", "def"])).status_code == 413
        assert live.model.read == []


async def test_all_prompts_end_with_their_request(serve: Any, scripted: Any, until: Any) -> None:
    """The slots and the generations of those that run at a disconnect."""
    model = scripted("a" * 500, gate=threading.Semaphore(40), max_concurrent=3)
    with serve(model) as live:
        asking = asyncio.create_task(live.chat(prompt=["a"] * 8, max_tokens=500))
        await until(lambda: len(model.running) == 3)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        for running in model.running:
            assert await asyncio.to_thread(running.cancelled.wait, 5)
        await live.idle()
        assert len(model.running) == 3
