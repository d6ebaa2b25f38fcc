"""The rerank routes: both response formats, scores, order, limits, and every refusal."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from fleet_contract.server_protocol import CALLER_HEADER
from fleet_server.batching.batcher import Batcher
from fleet_server.engines.openvino.encoder import RerankEngine

QUERY = "w1 w2"
DOCUMENTS = ["w3 w4 w5", "w1", "w9 w8 w7 w6 w5 w4", "w2 w1 w2"]


def logits(client: Any) -> np.ndarray:
    found: np.ndarray = client.model.score(client.model.tokenize_pairs(QUERY, DOCUMENTS))
    assert np.ptp(found) > 0.1
    return found


async def test_documents_are_ranked_in_the_common_shape(serve: Any) -> None:
    async with serve() as client:
        raw = logits(client)
        order = np.argsort(-raw).tolist()
        for path in ("/v1/rerank", "/v1/reranking", "/rerank", "/reranking"):
            answer = await client.post(
                path, json={"model": "tiny", "query": QUERY, "documents": DOCUMENTS}
            )
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert (body["object"], body["model"]) == ("list", "tiny")
            assert body["usage"] == {"prompt_tokens": 33, "total_tokens": 33}
            assert [result["index"] for result in body["results"]] == order
            scores = [result["relevance_score"] for result in body["results"]]
            assert scores == pytest.approx(1 / (1 + np.exp(-raw[order])), abs=1e-5)
            assert set(body["results"][0]) == {"index", "relevance_score"}


async def test_options_of_the_common_shape(serve: Any) -> None:
    async with serve() as client:
        raw = logits(client)
        order = np.argsort(-raw).tolist()
        answer = await client.post("/v1/rerank", json={
            "query": QUERY, "documents": [{"text": text} for text in DOCUMENTS], "top_n": 2,
            "return_documents": True, "raw_scores": True,
        })  # fmt: skip
        results = answer.json()["results"]
        assert [result["index"] for result in results] == order[:2]
        assert [result["relevance_score"] for result in results] == pytest.approx(
            raw[order[:2]], abs=1e-5
        )
        assert results[0]["document"] == {"text": DOCUMENTS[order[0]]}
        answer = await client.post(
            "/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS, "top_n": 99}
        )
        assert len(answer.json()["results"]) == 4


async def test_texts_are_ranked_as_a_plain_list(serve: Any) -> None:
    async with serve() as client:
        raw = logits(client)
        order = np.argsort(-raw).tolist()
        answer = await client.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS})
        assert [item["index"] for item in answer.json()] == order
        assert set(answer.json()[0]) == {"index", "score"}
        answer = await client.post(
            "/rerank",
            json={"query": QUERY, "texts": DOCUMENTS, "return_text": True, "raw_scores": True},
        )
        first = answer.json()[0]
        assert first["text"] == DOCUMENTS[order[0]]
        assert first["score"] == pytest.approx(float(raw.max()), abs=1e-5)


async def test_concurrent_requests_get_their_own_scores(serve: Any) -> None:
    async with serve(limits={"max_batch_size": 4}) as client:
        bodies = [{"query": f"w{n}", "documents": [f"w{n + 1}", f"w{n + 2}"]} for n in range(20)]
        together = await asyncio.gather(*(client.post("/v1/rerank", json=b) for b in bodies))
        for body, answer in zip(bodies, together, strict=True):
            alone = (await client.post("/v1/rerank", json=body)).json()["results"]
            for one, other in zip(alone, answer.json()["results"], strict=True):
                assert one["index"] == other["index"]
                assert one["relevance_score"] == pytest.approx(other["relevance_score"], abs=1e-5)


async def test_long_pairs(serve: Any) -> None:
    long = " ".join(["w7"] * 40)
    async with serve() as client:
        body: dict[str, Any] = {"query": QUERY, "documents": ["w1", long]}
        answer = await client.post("/v1/rerank", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "documents")
        assert "'documents[1]' has 45 tokens" in error["message"]
        assert "at most 24" in error["message"]
        answer = await client.post("/v1/rerank", json=body | {"truncate": True})
        assert answer.json()["usage"]["prompt_tokens"] == 24 + 6
        body = {"query": long, "documents": ["w1"], "truncate": True}
        answer = await client.post("/v1/rerank", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "query")


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"documents": DOCUMENTS}, "query"),
    ({"query": 5, "documents": DOCUMENTS}, "query"),
    ({"query": "", "documents": DOCUMENTS}, "query"),
    ({"query": QUERY}, "documents"),
    ({"query": QUERY, "documents": []}, "documents"),
    ({"query": QUERY, "texts": []}, "texts"),
    ({"query": QUERY, "texts": ["w1", 5]}, "texts[1]"),
    ({"query": QUERY, "documents": "w1"}, "documents"),
    ({"query": QUERY, "documents": ["w1", 5]}, "documents[1]"),
    ({"query": QUERY, "documents": [{"title": "w1"}]}, "documents[0]"),
    ({"query": QUERY, "documents": DOCUMENTS, "texts": DOCUMENTS}, "texts"),
    ({"query": QUERY, "documents": ["w1"] * 2049}, "documents"),
    ({"query": "w" * 1_000_001, "documents": DOCUMENTS}, "query"),
    ({"query": QUERY, "documents": ["w" * 1_000_001]}, "documents"),
    ({"query": QUERY, "documents": DOCUMENTS, "top_n": 0}, "top_n"),
    ({"query": QUERY, "documents": DOCUMENTS, "top_n": "2"}, "top_n"),
    ({"query": QUERY, "documents": DOCUMENTS, "top_n": True}, "top_n"),
    ({"query": QUERY, "documents": DOCUMENTS, "raw_scores": "yes"}, "raw_scores"),
    ({"query": QUERY, "documents": DOCUMENTS, "return_documents": 1}, "return_documents"),
    ({"query": QUERY, "documents": DOCUMENTS, "topN": 2}, "topN"),
    ({"query": QUERY, "documents": DOCUMENTS, "top_n[]": 2}, "top_n[]"),
    ({"query": QUERY, "documents": DOCUMENTS, "returnDocuments": True}, "returnDocuments"),
    ({"query": QUERY, "documents": DOCUMENTS, "top_k": 2}, "top_k"),
    ({"query": QUERY, "documents": DOCUMENTS, "instruction": "x"}, "instruction"),
    ({"query": QUERY, "documents": DOCUMENTS, "max_tokens_per_doc": 23}, "max_tokens_per_doc"),
]


async def test_refusals(serve: Any) -> None:
    async with serve() as client:
        for body, param in REFUSALS:
            answer = await client.post("/v1/rerank", json=body)
            assert answer.status_code == 400, body
            assert answer.json()["error"]["param"] == param, body
        answer = await client.post("/v1/rerank", json={"model": "other", "query": QUERY})
        assert answer.status_code == 404
        answer = await client.post("/v1/embeddings", json={"model": "tiny", "input": "w1"})
        assert answer.json()["error"]["code"] == "wrong_task"


async def test_coheres_second_version(serve: Any) -> None:
    async with serve() as client:
        body = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
        first = (await client.post("/v1/rerank", json=body)).json()
        second = (await client.post("/v2/rerank", json=body | {"max_tokens_per_doc": 4096})).json()
        assert second["results"] == first["results"]
        assert second["meta"] == {
            "api_version": {"version": "2"},
            "tokens": {"input_tokens": first["usage"]["prompt_tokens"]},
        }
        assert len(second["id"]) == 36
        assert not {"id", "meta"} & first.keys()


async def test_coheres_second_version_truncates(serve: Any) -> None:
    long = {"query": QUERY, "documents": [" ".join(["w7"] * 40)]}
    async with serve() as client:
        assert (await client.post("/v1/rerank", json=long)).status_code == 400
        assert (await client.post("/v2/rerank", json=long)).status_code == 200
        answer = await client.post("/v2/rerank", json=long | {"truncate": False})
        assert answer.status_code == 400


async def test_all_texts_of_a_request_have_one_limit(serve: Any) -> None:
    async with serve(limits={"maxRequestChars": 10}) as client:
        body = {"query": "w1 w2", "documents": ["w1", "w2 "]}
        assert (await client.post("/v1/rerank", json=body)).status_code == 200
        answer = await client.post("/v1/rerank", json=body | {"documents": ["w1", "w2 w"]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "documents")
        assert "11 characters" in answer.json()["error"]["message"]


async def test_long_texts_are_tokenised_as_far_as_the_model_reads(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = RerankEngine.tokenize_pairs

    def counting(self: RerankEngine, query: str, documents: Any) -> Any:
        seen.append(len(query) + sum(map(len, documents)))
        return original(self, query, documents)

    monkeypatch.setattr(RerankEngine, "tokenize_pairs", counting)
    long = "w7 " * 200_000
    async with serve() as client:
        answer = await client.post("/v1/rerank", json={"query": long, "documents": DOCUMENTS})
        assert "'query' has more than 24 tokens" in answer.json()["error"]["message"]
        body = {"query": QUERY, "documents": ["w1", long]}
        answer = await client.post("/v1/rerank", json=body)
        assert "'documents[1]' has more than 24 tokens" in answer.json()["error"]["message"]
        answer = await client.post("/v1/rerank", json=body | {"truncate": True})
        assert answer.json()["usage"]["prompt_tokens"] == 24 + 6
    assert sum(seen) < 5000


async def test_a_query_as_long_as_the_model_reads(serve: Any) -> None:
    async with serve() as client:
        body = {"query": " ".join(["w7"] * 21), "documents": ["w1"]}  # 24 tokens without it
        answer = await client.post("/v1/rerank", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "documents")
        answer = await client.post("/v1/rerank", json=body | {"truncate": True})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "query")
        body["query"] = " ".join(["w7"] * 20)
        answer = await client.post("/v1/rerank", json=body | {"truncate": True})
        assert answer.status_code == 200


async def test_the_batcher_knows_the_caller(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = Batcher.run

    async def noting(self: Batcher, batch: Any, caller: str = "") -> Any:
        seen.append(caller)
        return await original(self, batch, caller)

    monkeypatch.setattr(Batcher, "run", noting)
    body = {"query": QUERY, "documents": ["w1"]}
    async with serve() as client:
        await client.post("/v1/rerank", json=body, headers={CALLER_HEADER: "0123456789abcdef"})
    assert seen == ["0123456789abcdef"]
