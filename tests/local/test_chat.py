"""Chat of the running fleet with the official client."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
JAPAN = [{"role": "user", "content": "What is the capital of Japan?"}]
WEEK = [{"role": "user", "content": "List the days of the week."}]


@pytest.fixture(scope="session")
def fleet(chat_fleet: Any) -> Any:
    """Each engine's."""
    return chat_fleet


async def chat(client: openai.AsyncOpenAI, messages: Any = WEEK, **fields: Any) -> Any:
    given = {"model": MODEL, "temperature": 0, "max_tokens": 60} | fields
    return await client.chat.completions.create(messages=messages, **given)


async def text_of(client: openai.AsyncOpenAI, messages: Any = WEEK, **fields: Any) -> str:
    answer = await chat(client, messages, **fields)
    text: str = answer.choices[0].message.content
    return text


async def streamed(client: openai.AsyncOpenAI, messages: Any = WEEK, **fields: Any) -> list[Any]:
    return [chunk async for chunk in await chat(client, messages, stream=True, **fields)]


def joined(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def test_usage_adds_up(client: openai.AsyncOpenAI) -> None:
    answer = await chat(client, max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert answer.usage.prompt_tokens > 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5
    longer = await chat(client, [*WEEK, {"role": "assistant", "content": "Monday."}, *WEEK],
                        max_tokens=5)  # fmt: skip
    assert longer.usage.prompt_tokens > answer.usage.prompt_tokens


@pytest.mark.sense
async def test_a_question(client: openai.AsyncOpenAI) -> None:
    answer = await chat(client, JAPAN)
    assert "Tokyo" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.role == "assistant"
    assert answer.object == "chat.completion"
    assert answer.model == MODEL
    assert answer.id.startswith("chatcmpl-")


@pytest.mark.sense
async def test_a_stream_equals_the_response_without_streaming(client: openai.AsyncOpenAI) -> None:
    whole = await text_of(client)
    chunks = await streamed(client)
    assert joined(chunks) == whole
    assert len(chunks) > 10
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks][-1] == "length"
    assert {c.id for c in chunks} == {chunks[0].id}
    assert {c.object for c in chunks} == {"chat.completion.chunk"}


@pytest.mark.sense
async def test_a_stream_arrives_in_pieces(http: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "messages": WEEK, "max_tokens": 60, "stream": True}
    loop = asyncio.get_running_loop()
    times = []
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for piece in answer.aiter_raw():
            times.append(loop.time())
            last = piece
    assert last.endswith(b"data: [DONE]\n\n")
    assert len(times) > 5
    assert len(set(times)) == len(times)


async def test_usage_of_a_stream_is_last_if_requested(client: openai.AsyncOpenAI) -> None:
    chunks = await streamed(client, max_tokens=7, stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 7
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert all(chunk.usage is None for chunk in await streamed(client, max_tokens=7))


async def test_several_choices(client: openai.AsyncOpenAI) -> None:
    answer = await chat(client, n=3, max_tokens=4)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in answer.choices)
    assert answer.usage.completion_tokens == 3 * 4
    assert answer.usage.prompt_tokens == (await chat(client, max_tokens=1)).usage.prompt_tokens
    chunks = await streamed(client, n=2, max_tokens=4, stream_options={"include_usage": True})
    ends = [each for chunk in chunks for each in chunk.choices if each.finish_reason]
    assert sorted(each.index for each in ends) == [0, 1]
    assert chunks[-1].usage.completion_tokens == 2 * 4


@pytest.mark.sense
async def test_a_stop_string_ends_the_response_before_it(client: openai.AsyncOpenAI) -> None:
    whole = await text_of(client)
    for stop in ("Wednesday", "day\n3", ["Friday", "Thursday"]):
        first = min(whole.index(each) for each in ([stop] if isinstance(stop, str) else stop))
        answer = await chat(client, stop=stop)
        assert answer.choices[0].message.content == whole[:first]
        assert answer.choices[0].finish_reason == "stop"
        chunks = await streamed(client, stop=stop)
        assert joined(chunks) == whole[:first]
        assert chunks[-1].choices[0].finish_reason == "stop"


async def test_max_completion_tokens_counts_too(client: openai.AsyncOpenAI) -> None:
    answer = await chat(client, max_tokens=None, max_completion_tokens=3)
    assert answer.usage.completion_tokens == 3


async def test_a_seed_reproduces_a_response(client: openai.AsyncOpenAI) -> None:
    story = [{"role": "user", "content": "Invent a name for a ship."}]
    fields = {"temperature": 1.5, "max_tokens": 24}
    first, same, other = [await text_of(client, story, seed=seed, **fields) for seed in (1, 1, 2)]
    assert first == same != other


@pytest.mark.sense
async def test_system_messages_and_text_parts(client: openai.AsyncOpenAI) -> None:
    parts = [
        {"type": "text", "text": "What is the capital"},
        {"type": "text", "text": " of Japan?"},
    ]
    messages = [{"role": "system", "content": "Answer in one word."},
                {"role": "user", "content": parts}]  # fmt: skip
    assert "Tokyo" in await text_of(client, messages)


@pytest.mark.sense
async def test_concurrent_requests_get_their_own_response(client: openai.AsyncOpenAI) -> None:
    capitals = {"China": "Beijing", "Russia": "Moscow", "Japan": "Tokyo", "Germany": "Berlin"}
    countries = [country for country in capitals for _ in range(4)]
    answers = await asyncio.gather(
        *(text_of(client, [{"role": "user", "content": f"What is the capital of {country}?"}])
          for country in countries)
    )  # fmt: skip
    right = [
        capitals[country] in answer for country, answer in zip(countries, answers, strict=True)
    ]
    assert sum(right) >= 0.9 * len(right), answers


async def test_unknown_fields_are_ignored_and_counted(
    client: openai.AsyncOpenAI, metric: Any
) -> None:
    before = await metric("modelfleet_ignored_fields_total", none=0, model=MODEL)
    await chat(client, max_tokens=1, extra_body={"colour": "red", "size": 5})
    assert await metric("modelfleet_ignored_fields_total", model=MODEL) == before + 2


async def test_response_headers(http: httpx.AsyncClient) -> None:
    body = {"model": "smollm2", "messages": WEEK, "max_tokens": 1}
    for stream in (False, True):
        answer = await http.post(
            "/v1/chat/completions", json=body | {"stream": stream},
            headers={"x-request-id": "mine-7"},
        )  # fmt: skip
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == "mine-7"
        assert answer.headers["x-modelfleet-model"] == MODEL
        assert answer.headers["x-modelfleet-endpoint"]
        assert float(answer.headers["x-modelfleet-queue-ms"]) >= 0
        assert answer.headers["x-modelfleet-cold"] in ("true", "false")
    made = (await http.post("/v1/chat/completions", json=body)).headers["x-request-id"]
    other = (await http.post("/v1/chat/completions", json=body)).headers["x-request-id"]
    assert made != other
