"""Models of llama.cpp that give one vector or score for a text: encoders, and decoders trained so.

Pooling is that of the GGUF (`<architecture>.pooling_type`; enum llama_pooling_type in llama.h).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

from fleet_contract.spec import ModelSpec, Pooling
from fleet_prepare import gguf_head
from fleet_prepare.gguf_head import Value
from fleet_server.engines.llamacpp.cache import files_of
from fleet_server.engines.llamacpp.parameters import shared
from fleet_server.engines.llamacpp.server import EmbeddedServer
from fleet_server.engines.llamacpp.vocabulary import LlamaVocabulary
from fleet_server.load_error import LoadError

RANK = 4
KINDS = {1: Pooling.MEAN, 2: Pooling.CLS, 3: Pooling.LAST}
NUMBERS = {
    Pooling.MEAN: xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN,
    Pooling.CLS: xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_CLS,
    Pooling.LAST: xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST,
}
CONNECTIONS = 8
SLACK = 64
"""Tokens of a pair beyond those counted: tokens may join or divide at the ends of its texts."""
MAX_SEQUENCES = 64
"""Sequences of a pass; llama.cpp reserves memory for each."""


@dataclass(frozen=True, slots=True)
class PooledModel:
    """A loaded model. A pass has at most `spec.pass_size` texts, each of `max_tokens`."""

    server: EmbeddedServer
    vocabulary: LlamaVocabulary
    architecture: str
    vocab_size: int
    width: int
    max_tokens: int

    @classmethod
    def load(cls, spec: ModelSpec, folder: Path, threads: int, *, ranks: bool) -> PooledModel:
        """With `ranks` a model with a classifier, else one that gives vectors. Raises LoadError."""
        path = files_of(folder)
        found = gguf_head.metadata(path)
        if found is None:
            raise LoadError(f"{path.name} is not a GGUF file.", "Fetch the model again.")
        family = str(found.get("general.architecture"))
        longest = min(_context(found, family, spec), spec.batching.max_tokens)
        params = shared(path, spec, threads)
        params.embedding = True
        params.pooling_type = _pooling(found, family, spec.pooling, ranks=ranks)
        params.n_parallel = min(spec.pass_size, MAX_SEQUENCES)
        # All tokens of a text are computed in one pass, since its vector is made of all of them.
        params.n_ctx = max(longest, spec.batching.max_tokens) + SLACK
        params.n_batch = params.n_ubatch = params.n_ctx
        params.n_threads_http = CONNECTIONS
        server = EmbeddedServer(params)
        model = server.get("/v1/models")["data"][0]["meta"]
        vocabulary = LlamaVocabulary(server, model["n_vocab"], model["vocab_type"])
        return cls(server, vocabulary, family, model["n_vocab"], model["n_embd"], longest)


def cut(token_ids: Sequence[int], closing: Sequence[int], length: int) -> list[int]:
    """The ids cut to `length`, the closing special tokens kept."""
    ids = list(token_ids)
    if len(ids) <= length:
        return ids
    if closing and ids[-len(closing) :] == list(closing):
        return ids[: length - len(closing)] + list(closing)
    return ids[:length]


def _context(found: Mapping[str, Value], family: str, spec: ModelSpec) -> int:
    own = found.get(f"{family}.context_length")
    if type(own) is not int or own <= 0:
        raise LoadError("The GGUF gives no context length.")
    if spec.context_length is not None and spec.context_length > own:
        raise LoadError(f"contextLength is {spec.context_length}; this model supports {own}.")
    return spec.context_length or own


def _pooling(found: Mapping[str, Value], family: str, wanted: Pooling, *, ranks: bool) -> Any:
    number = found.get(f"{family}.pooling_type")
    if ranks:
        if number != RANK:
            raise LoadError(
                "The GGUF is of a model without a classifier: it cannot rerank.",
                "Name one that was converted from a reranker (pooling type RANK).",
            )
        return xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    if number == RANK:
        raise LoadError("The GGUF is of a reranker, which gives no vectors.", "Set `task: rerank`.")
    own = KINDS.get(number) if type(number) is int else None
    if wanted is Pooling.AUTO and own is None:
        raise LoadError(
            "The GGUF does not give how token vectors are pooled.",
            "Set `pooling` to cls, mean or last, as the model was trained.",
        )
    return NUMBERS[own if wanted is Pooling.AUTO and own is not None else wanted]
