"""TorchEmbedding: unit vectors of texts through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import AutoModel

from fleet_contract.spec import Dtype, ModelSpec, Pooling
from fleet_server.engines.encoder_files.extra_inputs import no_types
from fleet_server.engines.torch.encoder import Encoder, EncoderFiles
from fleet_server.engines.torch.pooling import PoolingHead
from fleet_server.engines.torch.runtime import Runtime
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

SHORTEST = np.float32(1e-12)


class TorchEmbedding:
    """An EmbeddingModel (fleet_server.protocols). Raises LoadError for files it cannot serve.

    Pooling and dense layers are those of the repository's modules.json.
    """

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, *, dtype: Dtype | None = None
    ) -> None:
        """`dtype` is the number format to compute in, by default that of the spec."""
        files = EncoderFiles.read(spec, folder, threads)
        runtime = Runtime.start(
            spec, threads, files.checkpoint.stored_dtype, float16=files.checkpoint.fits_float16,
            dtype=dtype,
        )  # fmt: skip
        pooling = files.recipe.pooling or Pooling.MEAN
        if spec.pooling is not Pooling.AUTO:
            pooling = spec.pooling
        model = files.checkpoint.load(AutoModel, runtime, spec.dtype, unused=("pooler.",))
        head = PoolingHead(pooling, files.recipe.dense, runtime.device)
        self.passes = spec.limits.max_concurrent or 1
        self._encoder = Encoder(model, runtime, head, no_types, self.passes)
        self.prompts = files.recipe.prompts.texts | spec.prompts
        self.default_prompt = files.recipe.prompts.default
        self._tokenizer = files.tokenizer
        self.vocabulary = files.tokenizer.vocabulary
        self.special_ids = files.tokenizer.special_ids
        self.device = str(runtime.device)
        self.dtype = self._encoder.dtype
        self.max_tokens = files.max_tokens
        self.vocab_size = int(model.config.vocab_size)
        self.dimensions = int(self.embed(self.tokenize(["a"])).shape[1])
        if spec.dimensions not in (None, self.dimensions):
            raise LoadError(
                f"dimensions is {spec.dimensions}; the model's vectors have {self.dimensions}."
            )

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with special tokens, never truncated."""
        return self._tokenizer.texts(texts)

    def truncate(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens`, closing special token kept."""
        return self._tokenizer.cut(token_ids, self.max_tokens)

    def embed(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch), dimensions]`, rows of length 1. Raises TooLarge, RuntimeError."""
        vectors = self._encoder.run(batch)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Float32 = vectors / np.maximum(length, SHORTEST)
        return unit

    def close(self) -> None:
        self._encoder.close()
