"""EmbeddingEngine: the EmbeddingModel protocol on OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov

from fleet_contract.spec import Dtype, ModelSpec, Pooling
from fleet_server.engines.encoder_files.extra_inputs import no_types
from fleet_server.engines.openvino.encoder import families, shipped
from fleet_server.engines.openvino.encoder.executor import GraphExecutor, padded_length
from fleet_server.engines.openvino.encoder.files import GraphFiles
from fleet_server.engines.openvino.encoder.head import apply_dense, pool
from fleet_server.engines.openvino.encoder.loading import Loading
from fleet_server.engines.openvino.encoder.parts import check_all_used
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.engines.openvino.properties import shown_device
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

SHORTEST = np.float32(1e-12)
LANES_SECONDS = 10.0
"""How long concurrent passes are kept possible without a request: to add them again takes 0.2 s of
another thread."""


class EmbeddingEngine:
    """Unit vectors of texts. Raises LoadError for files it cannot serve."""

    release_seconds = LANES_SECONDS

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, *, dtype: Dtype | None = None
    ) -> None:
        """`dtype` is the number format to compute in, by default that of the spec."""
        loading = Loading.start(spec, folder, threads, dtype)
        self.device = shown_device(spec.device)
        files = loading.files
        fills = loading.fills(no_types)
        tensors = None
        if files.shipped is None:
            model, tensors = _built(files, spec.pooling)
        else:
            ready_made = shipped.read(files.shipped, fills)
            model = shipped.embedding(ready_made, files.recipe, spec.pooling)
        self.prompts = files.recipe.prompts.texts | spec.prompts
        self.default_prompt = files.recipe.prompts.default
        self._tokenizer = loading.tokenizer
        self.vocabulary = loading.tokenizer.vocabulary
        self.special_ids = loading.tokenizer.special_ids
        self._executor = loading.compile(model, fills, tensors, lanes=True)
        self.most_lanes = self._executor.most_lanes
        self.dtype = self._executor.precision
        self.max_tokens = loading.max_tokens
        self.vocab_size = int(files.config.get("vocab_size") or self._tokenizer.vocab_size)
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

    def padded_length(self, length: int) -> int:
        """The length that a batch is padded to if its longest input has `length` tokens."""
        return padded_length(length, self.max_tokens)

    def embed(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch), dimensions]`, rows of length 1. Raises RuntimeError."""
        return _unit(self._executor.run(batch))

    @property
    def lanes(self) -> int:
        """How many calls of `embed_concurrent` run at the same time."""
        return self._executor.lanes

    def embed_concurrent(self, batch: Sequence[Sequence[int]]) -> Float32:
        """As `embed`, on a share of the threads."""
        return _unit(self._executor.run_concurrent(batch))

    def release(self) -> None:
        """Free what only concurrent passes need."""
        if isinstance(self._executor, GraphExecutor):
            self._executor.remove_lanes()

    def close(self) -> None:
        self._executor.close()


def _unit(vectors: Float32) -> Float32:
    # Not in the graph, because bf16 is too coarse for vectors of length 1.
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SHORTEST)
    return vectors


def _built(files: GraphFiles, requested: Pooling) -> tuple[ov.Model, EncoderTensors]:
    tensors = EncoderTensors.open(files.safetensors)
    encoder = families.build(files.config, tensors)
    check_all_used(tensors)
    pooling = files.recipe.pooling or Pooling.MEAN if requested is Pooling.AUTO else requested
    pooled = pool(encoder.hidden, encoder.mask, pooling)
    vectors = apply_dense(pooled, files.recipe.dense)
    return ov.Model([vectors], encoder.inputs, "encoder"), tensors
