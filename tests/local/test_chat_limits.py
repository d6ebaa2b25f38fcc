"""Limits of the running fleet's chat model: long prompts, context, formats and tokens."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import httpx
import openai
import pytest

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="session")
def fleet(chat_fleet: Any) -> Any:
    """Each engine's."""
    return chat_fleet


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def chat(client: openai.AsyncOpenAI, text: str, **fields: Any) -> Any:
    given = {"model": MODEL, "temperature": 0, "max_tokens": 8} | fields
    return await client.chat.completions.create(messages=user(text), **given)


async def test_the_context_length_is_listed_and_in_errors(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient, context_length: int
) -> None:
    models = (await http.get("/v1/models")).json()["data"]
    (entry,) = [model for model in models if model["id"] == MODEL]
    assert entry["context_length"] == context_length
    with pytest.raises(openai.BadRequestError) as caught:
        await chat(client, "word " * (context_length + 8))
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "messages"
    assert str(context_length - 1) in caught.value.message
    assert str(context_length) in caught.value.message


@pytest.mark.parametrize("chat_fleet", ["llamacpp"], indirect=True)  # a short context
async def test_a_response_ends_at_the_context_length(
    client: openai.AsyncOpenAI, context_length: int
) -> None:
    text = "Once upon a time " * (context_length // 4 - 8)
    answer = await chat(client, text, max_tokens=2000, temperature=1, seed=1)
    assert answer.usage.prompt_tokens > context_length - 92
    if answer.choices[0].finish_reason == "length":
        assert answer.usage.total_tokens == context_length
    else:
        assert answer.usage.total_tokens < context_length


@pytest.mark.sense
@pytest.mark.parametrize("penalty", ["frequency_penalty", "presence_penalty"])
async def test_penalties_break_repetition(client: openai.AsyncOpenAI, penalty: str) -> None:
    async def variety(**fields: float) -> float:
        question = "Repeat the word banana many times."
        answer = await chat(client, question, max_tokens=64, **fields)
        words = answer.choices[0].message.content.split()
        return len(set(words)) / len(words)

    assert await variety(**{penalty: 2.0}) > 1.5 * await variety()


async def test_json_objects_are_json(client: openai.AsyncOpenAI) -> None:
    questions = [f"Describe {thing} as JSON." for thing in ("a fox", "Paris", "tea", "rain")]
    form = {"type": "json_object"}
    answers = await asyncio.gather(
        *(chat(client, question, max_tokens=200, response_format=form) for question in questions)
    )
    for answer in answers:
        text = answer.choices[0].message.content
        assert text.startswith("{")
        if answer.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(text), dict)


@pytest.mark.sense
async def test_responses_follow_a_schema(client: openai.AsyncOpenAI) -> None:
    async def following(schema: dict[str, object]) -> object:
        named = {"name": "city", "schema": schema, "strict": True}
        form = {"type": "json_schema", "json_schema": named}
        answer = await chat(client, "Where is the Louvre?", max_tokens=64, response_format=form)
        return json.loads(answer.choices[0].message.content)

    city = {"enum": ["Paris", "Rome"]}
    properties = {"city": city, "people": {"type": "integer"}}
    found = await following(
        {"type": "object", "properties": properties, "required": ["city", "people"]}
    )
    assert isinstance(found, dict)
    assert found["city"] in ("Paris", "Rome")
    assert type(found["people"]) is int
    assert await following({"type": "string", "pattern": "^[ab]{3}$"}) in {
        "".join(letters) for letters in itertools.product("ab", repeat=3)
    }
    with pytest.raises(openai.BadRequestError) as raised:
        await following({"type": "array", "uniqueItems": True})
    assert str(raised.value.param).startswith("response_format")


async def test_tokenize_and_detokenize(http: httpx.AsyncClient) -> None:
    text = "Hello wörld, 日本語"
    answer = await http.post("/tokenize", json={"model": MODEL, "content": text})
    ids = answer.json()["tokens"]
    assert all(isinstance(token, int) for token in ids)
    back = await http.post("/detokenize", json={"model": MODEL, "tokens": ids})
    assert back.json() == {"content": text}
    answer = await http.post(
        "/tokenize", json={"model": MODEL, "content": text, "with_pieces": True}
    )
    pieces = [token["piece"] for token in answer.json()["tokens"]]
    raw = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in pieces)
    assert raw.decode() == text
