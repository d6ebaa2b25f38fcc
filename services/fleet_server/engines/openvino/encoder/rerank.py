"""RerankEngine: the RerankModel protocol on OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import openvino as ov

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.encoder_files.extra_inputs import pair_types
from fleet_server.engines.openvino.encoder import families, shipped
from fleet_server.engines.openvino.encoder.executor import padded_length
from fleet_server.engines.openvino.encoder.files import GraphFiles
from fleet_server.engines.openvino.encoder.loading import Loading
from fleet_server.engines.openvino.encoder.parts import check_all_used
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.engines.openvino.properties import shown_device
from fleet_server.protocols import Float32


class RerankEngine:
    """A cross-encoder. Raises LoadError for files it cannot serve."""

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, *, dtype: Dtype | None = None
    ) -> None:
        """`dtype` is the number format to compute in, by default that of the spec."""
        loading = Loading.start(spec, folder, threads, dtype)
        self.device = shown_device(spec.device)
        files = loading.files
        boundary = loading.tokenizer.pair_boundary
        fills = loading.fills(pair_types(boundary))
        tensors = None
        if files.shipped is None:
            model, tensors = _built(files, with_types=boundary is not None)
        else:
            model = shipped.relevance(shipped.read(files.shipped, fills))
        self._tokenizer = loading.tokenizer
        self.vocabulary = loading.tokenizer.vocabulary
        self._executor = loading.compile(model, fills, tensors)
        self.dtype = self._executor.precision
        self.max_tokens = loading.max_tokens

    def tokenize_pairs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """Token ids of each pair with special tokens, never truncated."""
        return self._tokenizer.pairs(query, documents)

    def truncate_pair(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens` at the document's end, closing special token kept."""
        return self._tokenizer.cut(token_ids, self.max_tokens)

    def padded_length(self, length: int) -> int:
        """The length that a batch is padded to if its longest pair has `length` tokens."""
        return padded_length(length, self.max_tokens)

    def score(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch)]`, the raw logits of relevance. Raises RuntimeError."""
        return self._executor.run(batch).reshape(len(batch))

    def close(self) -> None:
        self._executor.close()


def _built(files: GraphFiles, *, with_types: bool) -> tuple[ov.Model, EncoderTensors]:
    tensors = EncoderTensors.open(files.safetensors)
    encoder, logit = families.build_scorer(files.config, tensors, with_types=with_types)
    check_all_used(tensors)
    return ov.Model([logit], encoder.inputs, "cross-encoder"), tensors
