"""Embeddings of any GGUF through llama.cpp."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.pooled import PooledModel, cut
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

SHORTEST = np.float32(1e-12)


class LlamaEmbedding:
    """An EmbeddingModel (fleet_server.protocols). Raises LoadError."""

    default_prompt = None

    def __init__(self, spec: ModelSpec, folder: Path, threads: int) -> None:
        self.device = spec.device
        self._model = PooledModel.load(spec, folder, threads, ranks=False)
        self.vocabulary = self._model.vocabulary
        self.vocab_size = self._model.vocab_size
        self.dimensions = self._model.width
        self.max_tokens = self._model.max_tokens
        self.special_ids = self.vocabulary.around
        self.prompts = spec.prompts
        if spec.dimensions not in (None, self.dimensions):
            raise LoadError(
                f"dimensions is {spec.dimensions}; the model's vectors have {self.dimensions}."
            )

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.vocabulary.encode(text, add_special=True, parse_special=False)
                for text in texts]  # fmt: skip

    def truncate(self, token_ids: Sequence[int]) -> list[int]:
        return cut(token_ids, self.special_ids[1], self.max_tokens)

    def embed(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch), dimensions]`, rows of length 1. Raises NotReady and OSError."""
        body = {"input": [list(ids) for ids in batch], "encoding_format": "base64"}
        found = self._model.server.post("/v1/embeddings", body)["data"]
        rows = [np.frombuffer(base64.b64decode(each["embedding"]), np.float32) for each in found]
        vectors = np.stack(rows)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SHORTEST)
        return vectors

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
