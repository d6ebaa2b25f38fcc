"""Embeddings of the running fleet with the official client."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import numpy as np
import openai
import pytest

SENTENCE = "A man is eating a piece of bread."
PARAPHRASE = "Someone eats some food."
STRANGER = "The central bank raised interest rates by half a percent."
FOX = [101, 1996, 4248, 2829, 4419, 102]
"""MiniLM's token ids of `the quick brown fox`."""


@pytest.fixture
async def model(http: httpx.AsyncClient) -> str:
    """The fleet's embedding model."""
    models = (await http.get("/v1/models")).json()["data"]
    return next(entry["id"] for entry in models if entry["task"] == "embedding")


async def vectors(client: openai.AsyncOpenAI, model: str, given: Any, **fields: Any) -> np.ndarray:
    answer = await client.embeddings.create(model=model, input=given, **fields)
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data], dtype=np.float32)


async def test_a_paraphrase_is_more_similar(client: openai.AsyncOpenAI, model: str) -> None:
    found = await vectors(client, model, [SENTENCE, PARAPHRASE, STRANGER])
    assert found.shape == (3, 384)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    near, far = found[0] @ found[1], found[0] @ found[2]
    assert near > 0.5
    assert far < 0.2


async def test_base64_equals_float(http: httpx.AsyncClient, model: str) -> None:
    data = {}
    for encoding in ("float", "base64"):
        answer = await http.post(
            "/v1/embeddings", json={"model": model, "input": SENTENCE, "encoding_format": encoding}
        )
        assert answer.status_code == 200
        data[encoding] = answer.json()["data"][0]["embedding"]
    assert isinstance(data["float"], list)
    decoded = np.frombuffer(base64.b64decode(data["base64"]), dtype="<f4")
    assert np.array_equal(decoded, np.array(data["float"], dtype=np.float32))


async def test_token_ids_equal_their_text(client: openai.AsyncOpenAI, model: str) -> None:
    text = await vectors(client, model, "the quick brown fox")
    for given in (FOX, [FOX]):
        ids = await vectors(client, model, given)
        assert float(text[0] @ ids[0]) > 0.9999


async def test_usage_counts_tokens_and_headers_name_the_model(
    client: openai.AsyncOpenAI, model: str
) -> None:
    raw = await client.embeddings.with_raw_response.create(
        model=model, input=["the quick brown fox", "the fox"], extra_headers={"x-request-id": "e-1"}
    )
    usage = raw.parse().usage
    assert (usage.prompt_tokens, usage.total_tokens) == (10, 10)
    assert raw.headers["x-request-id"] == "e-1"
    assert raw.headers["x-modelfleet-model"] == model


async def test_batching_changes_no_vector(client: openai.AsyncOpenAI, model: str) -> None:
    texts = [f"{'word ' * (number % 40)}number {number}" for number in range(200)]
    together = await vectors(client, model, texts)
    alone = await asyncio.gather(*(vectors(client, model, text) for text in texts[:40]))
    cosines = (together[:40] * np.concatenate(alone)).sum(axis=1)
    assert cosines.min() > 0.999


async def test_the_item_limit_is_2048(client: openai.AsyncOpenAI, model: str) -> None:
    assert len(await vectors(client, model, ["a"] * 2048)) == 2048
    await refused(client, model, {"input": ["a"] * 2049}, "input", "2049", "2048")


async def test_long_inputs(client: openai.AsyncOpenAI, model: str) -> None:
    long = "dog " * 300
    await refused(client, model, {"input": ["cat", long]}, "input", "input[1]", "302", "256")
    cut = await vectors(client, model, long, extra_body={"truncate": True})
    same = await vectors(client, model, "dog " * 254)
    assert float(cut[0] @ same[0]) > 0.999


async def test_dimensions(client: openai.AsyncOpenAI, model: str) -> None:
    assert (await vectors(client, model, SENTENCE, dimensions=384)).shape == (1, 384)
    await refused(client, model, {"dimensions": 128}, "dimensions", "128", "384")


async def refused(
    client: openai.AsyncOpenAI, model: str, fields: dict[str, Any], param: str, *words: str
) -> None:
    body = {"model": model, "input": "a"} | fields
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(**body)
    assert caught.value.param == param
    for word in words:
        assert word in caught.value.message


async def test_every_error_path(client: openai.AsyncOpenAI, model: str) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["a", 5]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [[30522]]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": None}, "input"),
        ({"input": "a" * 1_000_001}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": "384"}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"extra_body": {"truncate": "yes"}}, "truncate"),
    ]
    for fields, param in cases:
        await refused(client, model, fields, param)
    with pytest.raises(openai.NotFoundError) as missing:
        await client.embeddings.create(model="nobody/knows", input="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}]
        )
    assert wrong.value.code == "wrong_task"
    assert "/v1/embeddings" in wrong.value.message


async def test_invalid_bodies(http: httpx.AsyncClient, model: str) -> None:
    for raw in (b"", b"{", b"[1]", b"\xff\xfe", b'{"model": 5, "input": "a"}'):
        answer = await http.post("/v1/embeddings", content=raw)
        assert answer.status_code == 400, raw
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_the_llamacpp_format(http: httpx.AsyncClient, model: str) -> None:
    for path in ("/embedding", "/embeddings"):
        answer = await http.post(path, json={"model": model, "content": [SENTENCE, STRANGER]})
        assert answer.status_code == 200
        found = answer.json()
        assert [item["index"] for item in found] == [0, 1]
        assert np.shape([item["embedding"] for item in found]) == (2, 1, 384)


async def test_repeated_inputs_are_counted_as_hits(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient, model: str
) -> None:
    async def hits() -> float:
        text = (await http.get("/metrics")).text
        start = "embedding_cache_hits_total{"
        lines = [line for line in text.splitlines() if line.startswith(start) and model in line]
        return sum(float(line.split()[-1]) for line in lines)

    await vectors(client, model, "said once before")
    before = await hits()
    await vectors(client, model, "said once before")
    assert await hits() == before + 1


async def test_disconnects_do_not_block_others(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient, model: str, metric: Any, until: Any
) -> None:
    async def all_run() -> bool:
        return float(await metric("modelfleet_router_in_flight", none=0, model=model)) == 4

    texts = [f"{'many words ' * 60}{number}" for number in range(1500)]
    leaving = [
        asyncio.create_task(http.post("/v1/embeddings", json={"model": model, "input": texts}))
        for _ in range(4)
    ]
    await until(all_run)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    async with asyncio.timeout(40):
        await vectors(client, model, "who is still here")
