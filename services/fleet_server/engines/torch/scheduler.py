"""Decides which sequences join the batch, and how much of a prompt a step prefills."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_server.engines.torch.sequence import Sequence

SCORED_TOKENS = 64
"""Prompt tokens whose logits are computed at once: each has as many as the vocabulary."""


@dataclass(frozen=True, slots=True)
class StepLimits:
    """At most `rows` sequences share a pass, a step prefills at most `prefill` prompt tokens, and
    the cache holds `kv_tokens`, padding included. `images_share` allows sequences with images in a
    shared pass."""

    rows: int
    prefill: int
    kv_tokens: int
    images_share: bool


def may_join(row: Sequence, batch: list[Sequence], bounds: StepLimits) -> bool:
    """Whether the cache suffices for `row` and `batch` until all have ended. True if the batch is
    empty: a sequence that does not fit fails when its memory is allocated."""
    if not batch:
        return True
    if len(batch) >= bounds.rows:
        return False
    if not bounds.images_share and (row.has_images or any(other.has_images for other in batch)):
        return False
    longest = max(each.most_tokens for each in (row, *batch))
    return longest * (len(batch) + 1) <= bounds.kv_tokens


def prefill_length(row: Sequence, budget: int, *, chunked: bool) -> int:
    """How many prompt tokens to prefill now: at most `budget` if `chunked`, else the rest.

    A prompt with images is prefilled in one pass, since its pixel values are one input.
    """
    left = len(row.token_ids) - row.filled
    if row.scores_prompt:
        budget = min(budget, SCORED_TOKENS)
    return min(left, budget) if chunked and not row.has_images else left
