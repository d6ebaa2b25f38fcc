"""Computes how many tokens fit the key/value cache of a chat model.

OpenVINO accepts a size in whole GiB or a number of blocks; blocks allow fractions of a GiB and an
exact number of tokens. If all sequences together exceed the cache, the pipeline preempts and
recomputes some; a single sequence that exceeds it would end early, so the context is limited to
the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.openvino.chat_facts import CacheShape

BLOCK_TOKENS = 32
"""Tokens of one block on a CPU."""
SCALE_BYTES = 8
"""A float32 scale and a float32 zero point for each quantised row."""
WHOLE_CONTEXTS = 2
SEQUENCE_TOKENS = 512


@dataclass(frozen=True, slots=True)
class KvCache:
    """A cache of `blocks` blocks, each of `BLOCK_TOKENS` tokens and `block_bytes` bytes."""

    blocks: int
    block_bytes: int

    @property
    def tokens(self) -> int:
        return self.blocks * BLOCK_TOKENS

    def bytes_of(self, tokens: int) -> int:
        """Size of what `tokens` fill, in bytes."""
        return min(self.blocks, -(-tokens // BLOCK_TOKENS)) * self.block_bytes


def block_bytes(shape: CacheShape, *, quantised: bool) -> int:
    """Bytes of one block.

    If quantised to 8 bits, values have a scale per token and keys one per channel (verified with
    the pipeline's `kv_cache_size_in_bytes`). Otherwise both are float32.
    """
    if quantised:
        keys = shape.head_size * (BLOCK_TOKENS + SCALE_BYTES)
        values = BLOCK_TOKENS * (shape.head_size + SCALE_BYTES)
    else:
        keys = values = BLOCK_TOKENS * shape.head_size * 4
    return shape.layers * shape.heads * (keys + values)


def fit(shape: CacheShape, spec: ModelSpec, sequences: int, context_length: int | None) -> KvCache:
    """The cache of `cache.kvGib`, at least one block.

    Without that field it holds no more than WHOLE_CONTEXTS and SEQUENCE_TOKENS for each of
    `sequences`: the pipeline fills all of it with the prefixes of earlier prompts.
    """
    size = block_bytes(shape, quantised=spec.dtype is not Dtype.FLOAT32)
    blocks = max(1, spec.cache.kv_bytes // size)
    if spec.cache.kv_gib is None and context_length is not None:
        tokens = max(WHOLE_CONTEXTS * context_length, SEQUENCE_TOKENS * sequences)
        blocks = min(blocks, -(-tokens // BLOCK_TOKENS))
    return KvCache(blocks, size)
