"""Rerankers of any GGUF through llama.cpp.

Its route takes texts, from which it builds the pairs itself, with the template `rerank` of the GGUF
if there is one: pairs therefore keep their texts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fleet_contract.spec import ModelSpec
from fleet_prepare import gguf_head
from fleet_server.engines.llamacpp.cache import files_of
from fleet_server.engines.llamacpp.pooled import PooledModel
from fleet_server.engines.special_text import SpecialText
from fleet_server.protocols import Float32

PROBABILITIES = frozenset({"qwen3", "qwen3vl"})
"""Architectures whose classifier has two outputs, no and yes, of which llama.cpp returns the
softmax."""
TINY = 1e-7
PLACES = ("{query}", "{document}")
"""Of the template. llama.cpp fills them in one after the other, also those in a text that it has
filled in: a document for each `{document}` in the query."""
JOINER = "\u2060"
"""Has no width; keeps special tokens and places in texts from being parsed."""


class Pair(list[int]):
    """The token ids of a query and a document, and their texts."""

    def __init__(self, ids: Sequence[int], query: str, document: str) -> None:
        super().__init__(ids)
        self.query = query
        self.document = document


class LlamaRerank:
    """A RerankModel (fleet_server.protocols). Raises LoadError."""

    def __init__(self, spec: ModelSpec, folder: Path, threads: int) -> None:
        self.device = spec.device
        self._special = SpecialText([*gguf_head.control_tokens(files_of(folder)), *PLACES])
        self._model = PooledModel.load(spec, folder, threads, ranks=True)
        self.vocabulary = self._model.vocabulary
        self.max_tokens = self._model.max_tokens
        alone = len(self.vocabulary.encode("a", add_special=False))
        whole = self._post("a", ["a"])["usage"]["prompt_tokens"]
        self._template = [0] * (whole - 2 * alone)

    def tokenize_pairs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """As many ids as the pair has tokens; those of the template are 0."""
        query = self._plain(query)
        first = self.vocabulary.encode(query, add_special=False, parse_special=False)
        return [self._pair(first, query, self._plain(text)) for text in documents]

    def truncate_pair(self, token_ids: Sequence[int]) -> list[int]:
        assert isinstance(token_ids, Pair)  # noqa: S101  (made by `tokenize_pairs`)
        query, text = token_ids.query, token_ids.document
        first = self.vocabulary.encode(query, add_special=False, parse_special=False)
        ids = self.vocabulary.encode(text, add_special=False, parse_special=False)
        pair, keep = token_ids, len(ids)
        while len(pair) > self.max_tokens and keep > 0:
            keep = max(0, keep - (len(pair) - self.max_tokens))
            pair = self._pair(first, query, self.vocabulary.decode(ids[:keep]).rstrip("\ufffd"))
        return pair

    def score(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch)]`, the raw logits. Raises NotReady and OSError."""
        scores: list[float] = []
        pairs = [pair for pair in batch if isinstance(pair, Pair)]
        for query, group in itertools.groupby(pairs, key=lambda pair: pair.query):
            scores += self._scores(query, [pair.document for pair in group])
        found = np.array(scores, np.float32)
        if self._model.architecture not in PROBABILITIES:
            return found
        bounded = np.clip(found, TINY, 1 - TINY)
        logits: Float32 = np.log(bounded / (1 - bounded)).astype(np.float32)
        return logits

    @property
    def healthy(self) -> bool:
        return not self._model.server.lost

    @property
    def may_unmap(self) -> bool:
        return self._model.server.may_unmap

    def release(self) -> None:
        self._model.server.release()

    def close(self) -> None:
        self._model.server.close()

    def _scores(self, query: str, documents: list[str]) -> list[float]:
        found = self._post(query, documents)["results"]
        by_index = {each["index"]: float(each["relevance_score"]) for each in found}
        return [by_index[index] for index in range(len(documents))]

    def _post(self, query: str, documents: list[str]) -> Any:
        body = {"query": query, "documents": documents}
        return self._model.server.post("/v1/rerank", body)

    def _plain(self, text: str) -> str:
        return self.vocabulary.tokenisable(JOINER.join(self._special.parts(text)))

    def _pair(self, first: Sequence[int], query: str, document: str) -> Pair:
        second = self.vocabulary.encode(document, add_special=False, parse_special=False)
        return Pair([*first, *second, *self._template], query, document)
