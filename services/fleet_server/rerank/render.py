"""Renders the scores of a rerank request.

`relevance_score` and `score` are the sigmoid of the model's logit, from 0 to 1, as in Jina, Cohere,
vLLM and text-embeddings-inference. With `raw_scores: true` they are the logit, as in llama.cpp.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np

from fleet_contract.api.rerank import RankedDocument, RankedText, RerankResponse
from fleet_server.protocols import Float32
from fleet_server.rerank.request import RerankRequest


def sigmoid(logits: Float32) -> Float32:
    """1 / (1 + e^-x), without overflow."""
    scores: Float32 = (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)
    return scores


def ranked(logits: Float32, parsed: RerankRequest) -> list[tuple[int, Any]]:
    """Indices of the best documents and their scores (float32), best first; ties keep their
    order."""
    scores = logits if parsed.raw_scores else sigmoid(logits)
    order = np.argsort(-logits, kind="stable")[: parsed.top_n]
    return [(int(index), scores[index]) for index in order]


def render(
    logits: Float32, parsed: RerankRequest, model: str, tokens: int
) -> RerankResponse | list[RankedText]:
    """The response, in the format that belongs to the field of the documents.

    `documents`: `{"model", "object": "list", "usage", "results": [{"index", "relevance_score",
    "document"?: {"text"}}]}`. `texts`: `[{"index", "score", "text"?}]`.
    """
    best = ranked(logits, parsed)
    if parsed.plain:
        return [_plain(index, score, parsed) for index, score in best]
    response: RerankResponse = {
        "model": model,
        "object": "list",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "results": [_result(index, score, parsed) for index, score in best],
    }
    if parsed.cohere:
        response["id"] = str(uuid.uuid4())
        response["meta"] = {
            "api_version": {"version": "2"},
            "tokens": {"input_tokens": tokens},
        }
    return response


def _plain(index: int, score: Any, parsed: RerankRequest) -> RankedText:
    item: RankedText = {"index": index, "score": score}
    if parsed.with_text:
        item["text"] = parsed.documents[index]
    return item


def _result(index: int, score: Any, parsed: RerankRequest) -> RankedDocument:
    item: RankedDocument = {"index": index, "relevance_score": score}
    if parsed.with_text:
        item["document"] = {"text": parsed.documents[index]}
    return item
