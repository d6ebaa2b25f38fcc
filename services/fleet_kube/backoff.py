"""The delay before a failed list or watch is tried again."""

from __future__ import annotations

import random


def delay(failures: int, first: float, longest: float) -> float:
    """Seconds to wait after `failures` in a row: doubled from `first` up to `longest`, with jitter
    of up to a half."""
    whole = min(longest, first * 2.0 ** min(failures - 1, 16))
    return whole * (0.5 + random.random() / 2)  # noqa: S311 (spreads load, not a secret)
