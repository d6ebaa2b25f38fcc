"""Segments from Whisper's long-form generation in transformers, block by block.

transformers keeps the scores of every window until it is done, about 20 to 90 MB each, so a long
recording is transcribed in blocks. Within a block transformers moves its window to the last
timestamp; `complete` does the same between blocks.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import torch

from fleet_server.protocols import Segment

RATE = 16_000
"""Sample rate of all Whisper models."""
WINDOW_SECONDS = 30
BLOCK_SECONDS = 10 * WINDOW_SECONDS


def segments(
    found: list[dict[str, Any]], tokenizer: Any, offset: float, duration: float
) -> list[Segment]:
    """The segments that contain text; `offset` is added to their times, `duration` bounds them."""
    made = []
    for each in found:
        tokens = each["tokens"].tolist()
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        if not text.strip():
            continue
        start = min(offset + float(each["start"]), duration)
        made.append(
            Segment(
                start=start,
                end=max(start, min(offset + float(each["end"]), duration)),
                text=text,
                tokens=tokens,
                seek=int(offset * 100),
                avg_logprob=mean_log_probability(each["result"], tokens),
                compression_ratio=compression_ratio(text),
            )
        )
    return made


def complete(
    segments: Sequence[Segment], start: float, end: float, *, last: bool
) -> tuple[list[Segment], float]:
    """The segments to keep of the block from `start` to `end`, and where the next block begins.

    A segment that reaches the end of the block may continue after it, so the next block begins with
    it, unless it is the only one.
    """
    kept = list(segments)
    if not last and len(kept) > 1 and kept[-1].end >= end - 1 and kept[-1].start > start:
        following = kept.pop().start
        return kept, following
    return kept, end


def compression_ratio(text: str) -> float:
    """Bytes of the text over its bytes in zlib, as in openai-whisper."""
    content = text.encode()
    return len(content) / len(zlib.compress(content))


def mean_log_probability(result: Any, tokens: list[int]) -> float:
    """Mean log probability of a window's tokens; 0 if generation kept no scores.

    `result` holds `sequences` `[tokens]` and `scores`, one `[vocabulary]` per new token. As in
    openai-whisper, all segments of a window share one value.
    """
    scores = result.get("scores") if isinstance(result, dict) else None
    if not scores:
        return 0.0
    new = result["sequences"][-len(scores) :]
    logs = torch.log_softmax(torch.stack(list(scores)).float(), dim=-1)
    chosen = logs.gather(-1, new.unsqueeze(-1)).squeeze(-1)
    return float(chosen[chosen.isfinite()].mean()) if bool(chosen.isfinite().any()) else 0.0
