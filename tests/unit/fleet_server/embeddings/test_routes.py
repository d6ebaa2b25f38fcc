"""The embedding routes: responses, formats, limits, the cache, and every refusal."""

from __future__ import annotations

import asyncio
import base64
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from fleet_contract.server_protocol import CALLER_HEADER
from fleet_server.batching.batcher import Batcher
from fleet_server.engines.openvino.encoder import EmbeddingEngine
from support.waiting import until_async

PATH = "/v1/embeddings"
TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8"]


async def embed(client: httpx.AsyncClient, given: Any, **fields: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"model": "tiny", "input": given} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(body: dict[str, Any]) -> np.ndarray:
    assert [item["index"] for item in body["data"]] == list(range(len(body["data"])))
    return np.array([item["embedding"] for item in body["data"]], dtype=np.float32)


async def test_the_response_has_openais_shape(serve: Any) -> None:
    async with serve() as client:
        body = await embed(client, TEXTS, user="me", unheard_of=1)
        assert body["object"] == "list"
        assert body["model"] == "tiny"
        assert body["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
        assert {item["object"] for item in body["data"]} == {"embedding"}
        assert np.linalg.norm(rows(body), axis=1) == pytest.approx(1, abs=1e-6)
        answer = await client.post(PATH, json={"model": "tiny", "input": "w1"})
        assert answer.headers["x-modelfleet-model"] == "tiny"
        assert float(answer.headers["x-modelfleet-queue-ms"]) >= 0


async def test_base64_is_the_same_numbers(serve: Any) -> None:
    async with serve() as client:
        floats = rows(await embed(client, TEXTS))
        body = await embed(client, TEXTS, encoding_format="base64")
        for item, row in zip(body["data"], floats, strict=True):
            decoded = np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4")
            assert np.array_equal(decoded, row)
        floats = rows(await embed(client, TEXTS, encoding_format="float"))
        assert np.array_equal(floats, rows(await embed(client, TEXTS, encoding_format=None)))


async def test_every_form_of_input(serve: Any) -> None:
    async with serve(cache={"embeddings": 0}) as client:
        texts = rows(await embed(client, ["w1 w2", "w3"]))
        assert rows(await embed(client, "w1 w2")) == pytest.approx(texts[:1], abs=1e-6)
        ids = [[2, 5, 6, 3], [2, 7, 3]]
        body = await embed(client, ids)
        assert rows(body) == pytest.approx(texts, abs=1e-6)
        assert body["usage"]["prompt_tokens"] == 7
        assert rows(await embed(client, ids[1])) == pytest.approx(texts[1:], abs=1e-6)


async def test_a_big_request_is_split_and_keeps_its_order(serve: Any) -> None:
    async with serve(limits={"max_batch_size": 8}, cache={"embeddings": 0}) as client:
        texts = [" ".join([f"w{n % 60}"] * (1 + n % 20)) for n in range(150)]
        together = rows(await embed(client, texts))
        for number in (0, 17, 58, 149):
            alone = rows(await embed(client, texts[number]))
            assert alone[0] == pytest.approx(together[number], abs=1e-5)


async def test_concurrent_requests_get_their_own_vectors(serve: Any) -> None:
    async with serve(cache={"embeddings": 0}) as client:
        texts = [f"w{n} w{n + 1}" for n in range(40)]
        expected = rows(await embed(client, texts))
        answers = await asyncio.gather(*(embed(client, text) for text in texts))
        for answer, row in zip(answers, expected, strict=True):
            assert rows(answer)[0] == pytest.approx(row, abs=1e-5)


def counters(client: Any) -> tuple[float, float]:
    metrics = client.server.metrics.render().decode()
    read = {
        name: float(line.split()[-1])
        for line in metrics.splitlines()
        for name in ("hits", "misses")
        if line.startswith(f'embedding_cache_{name}_total{{model="tiny"}}')
    }
    return read["hits"], read["misses"]


async def test_repeated_inputs_come_from_the_cache(serve: Any) -> None:
    async with serve(cache={"embeddings": 2}) as client:
        first = await embed(client, ["w1", "w2", "w1"])
        assert first["usage"]["prompt_tokens"] == 9
        assert first["data"][0]["embedding"] == first["data"][2]["embedding"]
        assert counters(client) == (1, 2)
        second = await embed(client, ["w2", "w9"])
        assert second["data"][0]["embedding"] == first["data"][1]["embedding"]
        assert second["usage"]["prompt_tokens"] == 6
        assert counters(client) == (2, 3)
        await embed(client, "w1")
        assert counters(client) == (2, 4)
        await embed(client, [[2, 4, 3]])
        assert counters(client) == (2, 5)


async def test_a_cache_of_size_zero_is_off(serve: Any) -> None:
    async with serve(cache={"embeddings": 0}) as client:
        await embed(client, "w1")
        await embed(client, "w1")
        assert counters(client) == (0, 2)


async def test_matryoshka_sizes_are_cut_and_of_length_one(serve: Any) -> None:
    async with serve(matryoshka_dimensions=[8, 4]) as client:
        whole = rows(await embed(client, TEXTS))
        short = rows(await embed(client, TEXTS, dimensions=8))
        expected = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
        assert short == pytest.approx(expected, abs=1e-6)
        assert np.array_equal(rows(await embed(client, TEXTS, dimensions=16)), whole)
        await refused(client, {"dimensions": 5}, "dimensions", "4, 8, 16")


async def test_long_inputs_are_truncated_on_request(serve: Any) -> None:
    long = " ".join(["w7"] * 40)
    async with serve() as client:
        await refused(client, {"input": ["w1", long]}, "input", "42 tokens", "at most 24")
        await refused(client, {"input": [[5] * 25]}, "input", "25 tokens", "at most 24")
        body = await embed(client, [long, "w1"], truncate=True)
        assert body["usage"]["prompt_tokens"] == 27
        same = rows(await embed(client, [[2, *[11] * 22, 3]]))
        assert rows(body)[:1] == pytest.approx(same, abs=1e-5)
        await refused(client, {"input": long}, "input", "42 tokens")
    async with serve(limits={"truncate_inputs": True}) as client:
        await embed(client, long)
        await refused(client, {"input": long, "truncate": False}, "input", "42 tokens")


async def refused(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str | None, *words: str
) -> None:
    body = {"model": "tiny", "input": "w1"} | fields
    answer = await client.post(PATH, json={k: v for k, v in body.items() if v != "LEFT OUT"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    for word in words:
        assert word in error["message"]


REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"input": ""}, "input", "empty"),
    ({"input": []}, "input", "empty"),
    ({"input": ["w1", ""]}, "input", "input[1]"),
    ({"input": [[5], []]}, "input", "input[1]"),
    ({"input": ["w1", 5]}, "input", "mixture"),
    ({"input": [5, "w1"]}, "input", "mixture"),
    ({"input": [5, True]}, "input", "mixture"),
    ({"input": [True]}, "input", "mixture"),
    ({"input": [5, 6.5]}, "input", "mixture"),
    ({"input": [[5], "w1"]}, "input", "mixture"),
    ({"input": [[5, "w1"]]}, "input", "input[0]"),
    ({"input": [[5, True]]}, "input", "input[0]"),
    ({"input": [[[5]]]}, "input", "input[0]"),
    ({"input": {"text": "w1"}}, "input", "must be"),
    ({"input": 5}, "input", "must be"),
    ({"input": None}, "input", "must be"),
    ({"input": "LEFT OUT"}, "input", "Missing"),
    ({"input": [5, 64, 99]}, "input", "64"),
    ({"input": [2, 64, 3]}, "input", "64"),
    ({"input": [[2, 5, 3], [-1]]}, "input", "-1"),
    ({"input": [[2, 5, 3], [5]]}, "input", "input[1]' lacks the special tokens"),
    ({"input": [5, 6]}, "input", "check_embedding_ctx_length=False"),
    ({"input": [2, 5]}, "input", "special tokens"),
    ({"input": [5, 3]}, "input", "special tokens"),
    ({"input": [5, 6], "add_special_tokens": True}, "input", "special tokens"),
    ({"add_special_tokens": False}, "add_special_tokens", "token ids"),
    ({"normalize": False}, "normalize", "null or true"),
    ({"normalize": 0}, "normalize", "not supported"),
    ({"truncation_direction": "left"}, "truncation_direction", "right"),
    ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens", ""),
    ({"Normalize": False}, "Normalize", "normalize"),
    ({"encodingFormat": "base64"}, "encodingFormat", "encoding_format"),
    ({"encoding_format[]": "base64"}, "encoding_format[]", "encoding_format"),
    ({f"x{number}": 1 for number in range(101)}, None, "101 unknown fields"),
    ({"input": [2**70]}, "input", "mixture"),
    ({"input": ["w1"] * 2049}, "input", "2049"),
    ({"input": "x" * 1_000_001}, "input", "1000001"),
    ({"model": 5}, "model", "string"),
    ({"encoding_format": "binary"}, "encoding_format", "base64"),
    ({"encoding_format": True}, "encoding_format", ""),
    ({"dimensions": 8}, "dimensions", "16"),
    ({"dimensions": "16"}, "dimensions", "integer"),
    ({"dimensions": True}, "dimensions", "integer"),
    ({"dimensions": 16.0}, "dimensions", "integer"),
    ({"dimensions": 0}, "dimensions", "greater"),
    ({"dimensions": -3}, "dimensions", "greater"),
    ({"truncate": "yes"}, "truncate", "boolean"),
    ({"truncate": 1}, "truncate", "boolean"),
    ({"user": 5}, "user", "string"),
]


async def test_refusals(serve: Any) -> None:
    async with serve() as client:
        for fields, param, word in REFUSALS:
            await refused(client, fields, param, word)


async def test_values_without_effect_are_accepted(serve: Any) -> None:
    fields = {
        "normalize": True, "truncation_direction": "Right", "truncate_prompt_tokens": None,
        "late_chunking": False, "input_type": "query",
    }  # fmt: skip
    async with serve() as client:
        await embed(client, "w1", **fields)
        assert "ignored_fields_total{" not in client.server.metrics.render().decode()
    async with serve(prompts={"query": "w9 "}) as client:
        await refused(client, {"input_type": "query"}, "input_type", "'prompt_name'", "'query'")
        await embed(client, "w1", input_type=None)


async def test_token_ids_without_special_tokens_need_a_field(serve: Any) -> None:
    async with serve() as client:
        await embed(client, [2, 63, 3])
        body = await embed(client, [5, 6], add_special_tokens=False)
        assert body["usage"]["prompt_tokens"] == 2
        assert "token_ids_refused_total{" not in client.server.metrics.render().decode()
        for ids in ([15_339, 1917], [5, 6]):
            answer = await client.post(PATH, json={"model": "tiny", "input": [ids]})
            assert answer.json()["error"]["code"] == "invalid_token_ids"
        metrics = client.server.metrics.render().decode()
        assert 'modelfleet_token_ids_refused_total{model="tiny"} 2.0' in metrics
        native = await client.post("/embedding", json={"content": [5, 6]})
        assert native.status_code == 400
        native = await client.post(
            "/embedding", json={"content": [5, 6], "add_special_tokens": False}
        )
        assert native.status_code == 200


async def test_all_texts_of_a_request_have_one_limit(serve: Any) -> None:
    async with serve(limits={"maxRequestChars": 12}) as client:
        await embed(client, ["w1 w2 ", "w3 w4 "])
        await refused(client, {"input": ["w1 w2 ", "w3 w4 w"]}, "input", "13", "at most 12")
        await embed(client, [[2, *[5] * 4, 3]] * 2)
        await refused(client, {"input": [[2, *[5] * 4, 3], [2, *[5] * 5, 3]]}, "input", "13")
        await refused(client, {"input": [5] * 13}, "input", "13")


async def test_a_long_text_is_tokenised_as_far_as_the_model_reads(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = EmbeddingEngine.tokenize

    def counting(self: EmbeddingEngine, texts: Any) -> Any:
        seen.extend(map(len, texts))
        return original(self, texts)

    monkeypatch.setattr(EmbeddingEngine, "tokenize", counting)
    long = "w7 " * 200_000
    async with serve() as client:
        seen.clear()
        await refused(client, {"input": ["w1", long]}, "input", "input[1]", "more than 24 tokens")
        assert sum(seen) < 1000
        seen.clear()
        cut = rows(await embed(client, [long], truncate=True))
        assert sum(seen) < 1000
        assert np.array_equal(cut, rows(await embed(client, ["w7 " * 24], truncate=True)))


async def test_other_refusals(serve: Any) -> None:
    async with serve(limits={"max_body_bytes": 100}) as client:
        answer = await client.post(PATH, json={"model": "other", "input": "w1"})
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
        for raw in (b"", b"{", b"[]", b"\xff"):
            answer = await client.post(PATH, content=raw)
            assert answer.status_code == 400
        answer = await client.post(PATH, content=b"x" * 101)
        assert answer.status_code == 413
        answer = await client.post("/v1/chat/completions", json={"model": "tiny"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_task")
    async with serve(loaded=False) as client:
        answer = await client.post(PATH, json={"model": "tiny", "input": "w1"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


async def test_a_full_queue_is_429(serve: Any) -> None:
    """One request runs, one is prepared for the pass after it, one waits."""
    async with serve(batching={"max_size": 1}, limits={"max_queue_size": 1}) as client:
        body = {"model": "tiny", "input": [f"w{n % 60} w{n % 59}" for n in range(2000)]}
        answers = await asyncio.gather(*(client.post(PATH, json=body) for _ in range(5)))
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200, 200, 200, 429, 429]
        refusal = next(answer for answer in answers if answer.status_code == 429)
        assert refusal.headers["retry-after"]


async def test_requests_share_passes_where_one_pass_may_run(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def gated(inner: Any) -> Any:
        def embed(model: EmbeddingEngine, batch: Any) -> Any:
            sizes.append(len(batch))
            if len(sizes) > 1:  # the first is the engine's own, for the length of its vectors
                assert gate.wait(60)
            return inner(model, batch)

        return embed

    for name in ("embed", "embed_concurrent"):
        monkeypatch.setattr(EmbeddingEngine, name, gated(getattr(EmbeddingEngine, name)))
    async with serve(limits={"max_concurrent": 1}, batching={"max_size": 16}) as client:
        admission = client.server.admission
        running = [
            asyncio.create_task(client.post(PATH, json={"model": "tiny", "input": f"w{number}"}))
            for number in range(40)
        ]
        await until_async(lambda: admission.running + admission.waiting >= 40)
        assert (admission.running, admission.waiting) == (32, 8)
        gate.set()
        answers = await asyncio.gather(*running)
    assert {answer.status_code for answer in answers} == {200}
    assert sum(sizes[1:]) == 40
    assert max(sizes) == 16


async def test_llamacpps_routes(serve: Any) -> None:
    async with serve() as client:
        expected = rows(await embed(client, TEXTS))
        for path in ("/embedding", "/embeddings"):
            for name in ("content", "input"):
                answer = await client.post(path, json={name: TEXTS})
                assert answer.status_code == 200
                found = answer.json()
                assert [item["index"] for item in found] == [0, 1, 2]
                assert np.array_equal(
                    np.array([item["embedding"] for item in found], np.float32), expected[:, None]
                )
        answer = await client.post("/embedding", json={"content": "w4", "embd_normalize": 0})
        (values,) = answer.json()[0]["embedding"]
        assert max(map(abs, values)) == pytest.approx(32760)
        answer = await client.post("/embedding", json={"content": "w4", "embd_normalize": 1})
        assert sum(map(abs, answer.json()[0]["embedding"][0])) == pytest.approx(1, abs=1e-5)


NATIVE_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({}, "content"),
    ({"content": ""}, "content"),
    ({"content": ["w1", 5]}, "content"),
    ({"input": [99]}, "input"),
    ({"content": "w1", "embd_normalize": -1}, "embd_normalize"),
    ({"content": "w1", "embd_normalize": "2"}, "embd_normalize"),
    ({"content": "w1", "encoding_format": "base64"}, "encoding_format"),
]


async def test_llamacpps_refusals(serve: Any) -> None:
    async with serve() as client:
        for body, param in NATIVE_REFUSALS:
            answer = await client.post("/embedding", json=body)
            assert answer.status_code == 400, body
            assert answer.json()["error"]["param"] == param


async def test_the_batcher_knows_the_caller(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = Batcher.run

    async def noting(self: Batcher, batch: Any, caller: str = "") -> Any:
        seen.append(caller)
        return await original(self, batch, caller)

    monkeypatch.setattr(Batcher, "run", noting)
    async with serve() as client:
        await client.post(PATH, json={"input": "w1"}, headers={CALLER_HEADER: "0123456789abcdef"})
    assert seen == ["0123456789abcdef"]
