"""TorchRerank: cross-encoders through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.encoder_files.extra_inputs import pair_types
from fleet_server.engines.torch.encoder import Encoder, EncoderFiles
from fleet_server.engines.torch.runtime import Runtime
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32


class TorchRerank:
    """A RerankModel (fleet_server.protocols). Raises LoadError for files it cannot serve."""

    def __init__(
        self, spec: ModelSpec, folder: Path, threads: int, *, dtype: Dtype | None = None
    ) -> None:
        """`dtype` is the number format to compute in, by default that of the spec."""
        files = EncoderFiles.read(spec, folder, threads)
        runtime = Runtime.start(
            spec, threads, files.checkpoint.stored_dtype, float16=files.checkpoint.fits_float16,
            dtype=dtype,
        )  # fmt: skip
        model = files.checkpoint.load(AutoModelForSequenceClassification, runtime, spec.dtype)
        if model.config.num_labels != 1:
            raise LoadError(
                f"Reranking needs a head of one logit; this one has {model.config.num_labels}."
            )
        types = pair_types(files.tokenizer.pair_boundary)
        self.passes = spec.limits.max_concurrent or 1
        self._encoder = Encoder(model, runtime, _logits, types, self.passes)
        self._tokenizer = files.tokenizer
        self.vocabulary = files.tokenizer.vocabulary
        self.device = str(runtime.device)
        self.dtype = self._encoder.dtype
        self.max_tokens = files.max_tokens

    def tokenize_pairs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """Token ids of each pair with special tokens, never truncated."""
        return self._tokenizer.pairs(query, documents)

    def truncate_pair(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens` at the document's end, closing special token kept."""
        return self._tokenizer.cut(token_ids, self.max_tokens)

    def score(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch)]`, the raw logits of relevance. Raises TooLarge, RuntimeError."""
        return self._encoder.run(batch).reshape(len(batch))

    def close(self) -> None:
        self._encoder.close()


def _logits(output: Any, mask: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = output.logits
    return logits
