"""The protocols of embedding and rerank models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fleet_server.protocols.arrays import Float32


@runtime_checkable
class EmbeddingModel(Protocol):
    """Turns texts into unit vectors.

    Optional members: `embed_concurrent(batch)`, which is `embed` on a part of the cores, with
    `lanes: int`, how many calls of it may run at the same time, and `most_lanes: int`, the greatest
    value `lanes` will have; without lanes `passes: int`, how many calls of `embed` may run at the
    same time (default 1); `prompts: dict[str, str]`, texts that requests select by name, and
    `default_prompt: str | None`, the name used if a request gives none; `special_ids`, two lists of
    the ids that `tokenize` puts before and after every text: a request's own token ids without them
    are refused.
    """

    dimensions: int
    max_tokens: int
    """Maximum number of tokens of one input, special tokens included."""
    vocab_size: int

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with special tokens, never truncated."""

    def truncate(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens`, closing special token kept."""

    def embed(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch), dimensions]`, each row of length 1, in one pass of the model. The
        batch is within the limits of the spec."""

    def close(self) -> None: ...


@runtime_checkable
class RerankModel(Protocol):
    """Scores the relevance of documents to a query; `passes` is optional, as in EmbeddingModel."""

    max_tokens: int

    def tokenize_pairs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """Token ids of each pair with special tokens, never truncated."""

    def truncate_pair(self, token_ids: Sequence[int]) -> list[int]:
        """The ids cut to `max_tokens`, closing special token kept."""

    def score(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch)]`, the raw logits of relevance."""

    def close(self) -> None: ...
