"""Who reads its prompt next, and how much of it: the step loop's decisions, pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_server.engines.torch.running import Running


@dataclass(frozen=True, slots=True)
class Bounds:
    """`rows` share a pass; a step reads `prefill` prompt tokens at most; `kv_tokens` fit the cache,
    padding included; `images_share` says whether answers with images share passes."""

    rows: int
    prefill: int
    kv_tokens: int
    images_share: bool


def may_join(row: Running, batch: Sequence[Running], bounds: Bounds) -> bool:
    """Whether `row` may run beside `batch` until the last of them ends. Alone it always may."""
    if not batch:
        return True
    if len(batch) >= bounds.rows:
        return False
    if not bounds.images_share and (row.has_images or any(other.has_images for other in batch)):
        return False
    longest = max(each.most_tokens for each in (row, *batch))
    return longest * (len(batch) + 1) <= bounds.kv_tokens


def stretch(row: Running, budget: int, *, in_pieces: bool) -> int:
    """Tokens of the prompt to read now: all that are left, or as many as `budget` allows.

    A prompt with images is read in one pass, because its pictures are.
    """
    left = len(row.token_ids) - row.filled
    return min(left, budget) if in_pieces and not row.has_images else left
