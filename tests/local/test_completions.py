"""Text completions of the running fleet with the official client."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
FRANCE = "The capital of France is"
NUMBERS = "1, 2, 3, 4, 5,"


@pytest.fixture(scope="session")
def fleet(chat_fleet: Any) -> Any:
    """Each engine's."""
    return chat_fleet


async def complete(client: openai.AsyncOpenAI, prompt: Any = FRANCE, **fields: Any) -> Any:
    given = {"model": MODEL, "temperature": 0} | fields
    return await client.completions.create(prompt=prompt, **given)


async def text_of(client: openai.AsyncOpenAI, prompt: Any = FRANCE, **fields: Any) -> str:
    text: str = (await complete(client, prompt, **fields)).choices[0].text
    return text


async def streamed(client: openai.AsyncOpenAI, prompt: Any = FRANCE, **fields: Any) -> list[Any]:
    return [chunk async for chunk in await complete(client, prompt, stream=True, **fields)]


def joined(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)


async def tokens_of(http: httpx.AsyncClient, text: str) -> list[int]:
    body = {"model": MODEL, "content": text, "add_special": True}
    ids: list[int] = (await http.post("/tokenize", json=body)).json()["tokens"]
    return ids


@pytest.mark.sense
async def test_a_text_is_continued(client: openai.AsyncOpenAI) -> None:
    answer = await complete(client)
    assert answer.choices[0].text.startswith(" Paris")
    assert answer.choices[0].finish_reason == "length"
    assert answer.object == "text_completion"
    assert answer.model == MODEL
    assert answer.id.startswith("cmpl-")
    assert answer.usage.completion_tokens == 16
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 16
    assert (await text_of(client, NUMBERS, max_tokens=2)) == " 6"


async def test_no_template_is_applied(client: openai.AsyncOpenAI, http: httpx.AsyncClient) -> None:
    answer = await complete(client)
    assert answer.usage.prompt_tokens == len(await tokens_of(http, FRANCE))


@pytest.mark.sense
async def test_a_stream_equals_the_response_without_streaming(client: openai.AsyncOpenAI) -> None:
    whole = await text_of(client, NUMBERS, max_tokens=20)
    chunks = await streamed(client, NUMBERS, max_tokens=20)
    assert joined(chunks) == whole
    assert len(chunks) > 10
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.object for chunk in chunks} == {"text_completion"}


@pytest.mark.sense
@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_equal_the_text(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient, stream: bool
) -> None:
    ids = await tokens_of(http, NUMBERS)
    texts = []
    for prompt in (NUMBERS, [NUMBERS], ids, [ids]):
        if stream:
            texts.append(joined(await streamed(client, prompt, echo=True)))
        else:
            texts.append(await text_of(client, prompt, echo=True))
    assert texts[0].startswith(f"{NUMBERS} 6, 7")
    assert set(texts) == {texts[0]}


@pytest.mark.sense
async def test_a_stop_string_ends_the_text_before_it(client: openai.AsyncOpenAI) -> None:
    whole = await text_of(client, NUMBERS)
    answer = await complete(client, NUMBERS, stop=["9"])
    assert answer.choices[0].text == whole[: whole.index("9")]
    assert answer.choices[0].finish_reason == "stop"


async def test_a_seed_reproduces_a_text(client: openai.AsyncOpenAI) -> None:
    fields = {"temperature": 1.5, "max_tokens": 24}
    first, same, other = [await text_of(client, seed=seed, **fields) for seed in (1, 1, 2)]
    assert first == same != other


@pytest.mark.sense
@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_usage_is_counted_by_the_router(
    client: openai.AsyncOpenAI, metric: Any, until: Any, stream: bool, include_usage: bool
) -> None:
    """For streams too, whether or not the client requests usage."""

    async def used(kind: str) -> float:
        total: float = await metric(
            "modelfleet_router_tokens_total", none=0, model=MODEL, kind=kind
        )
        return total

    before = await used("prompt"), await used("completion")
    if stream:
        options: Any = {"stream_options": {"include_usage": True}} if include_usage else {}
        chunks = await streamed(client, max_tokens=7, **options)
        assert [chunk.usage is not None for chunk in chunks][-1] is include_usage
    else:
        await complete(client, max_tokens=7)

    async def counted() -> bool:
        return (await used("prompt"), await used("completion")) == (before[0] + 5, before[1] + 7)

    await until(counted)


@pytest.mark.sense
async def test_concurrent_requests_get_their_own_text(client: openai.AsyncOpenAI) -> None:
    capitals = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo"}
    countries = [country for country in capitals for _ in range(8)]
    texts = await asyncio.gather(
        *(text_of(client, f"The capital of {country} is", max_tokens=8) for country in countries)
    )
    assert all(capitals[country] in text for country, text in zip(countries, texts, strict=True)), (
        texts
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["one"] * 17}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [10**6]}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"suffix": "."}, "suffix"),
        ({"n": 17}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
async def test_invalid_fields_are_named(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await complete(client, **fields)
    assert caught.value.param == param


async def test_a_text_beyond_the_context_is_rejected(
    client: openai.AsyncOpenAI, context_length: int
) -> None:
    message = f"10000 tokens; at most {context_length - 1}"
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        await complete(client, [5] * 10_000)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")
