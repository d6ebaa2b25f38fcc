"""What Whisper's generation gives back, as segments with text and measures; used by TorchSpeech."""

from __future__ import annotations

import zlib
from typing import Any

import torch

from fleet_server.protocols import Segment


def segments(
    found: list[dict[str, Any]], tokenizer: Any, offset: float, duration: float
) -> list[Segment]:
    """Segments with text in them. `offset` is added to their times, which end at `duration`."""
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


def compression_ratio(text: str) -> float:
    """Bytes of the text over its bytes in zlib, as openai-whisper reports it."""
    content = text.encode()
    return len(content) / len(zlib.compress(content))


def mean_log_probability(result: Any, tokens: list[int]) -> float:
    """Mean log probability of the window's tokens; 0 where generation kept no scores.

    `result` holds `sequences` `[tokens]` and `scores`, one `[vocabulary]` for each new token. Like
    openai-whisper, a window has one value, which its segments share.
    """
    scores = result.get("scores") if isinstance(result, dict) else None
    if not scores:
        return 0.0
    new = result["sequences"][-len(scores) :]
    logs = torch.log_softmax(torch.stack(list(scores)).float(), dim=-1)
    chosen = logs.gather(-1, new.unsqueeze(-1)).squeeze(-1)
    return float(chosen[chosen.isfinite()].mean()) if bool(chosen.isfinite().any()) else 0.0
