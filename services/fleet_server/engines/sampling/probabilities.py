"""Filters and logarithmic probabilities of one row of logits, float32 `[vocabulary]`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fleet_server.protocols import TokenLogprobs

Logits = NDArray[np.float32]
HEAD = 512
"""Most probable tokens that are sorted first: they nearly always hold the mass of `top_p`."""


def logprobs_of(logits: Logits, token: int, number: int) -> TokenLogprobs:
    """The logarithmic probabilities of `token` and of the `number` most probable tokens."""
    total = _log_total(logits)
    best = largest(logits, number)
    top = tuple((int(each), float(logits[each] - total)) for each in best)
    return TokenLogprobs(token, float(logits[token] - total), top)


def largest(logits: Logits, number: int) -> NDArray[np.int64]:
    """The places of the `number` largest values in descending order, equal ones by place."""
    number = min(number, len(logits))
    if number == 0:
        return np.empty(0, dtype=np.int64)
    least = np.partition(logits, len(logits) - number)[len(logits) - number]
    found = np.flatnonzero(logits >= least)
    order = np.lexsort((found, -logits[found]))
    return found[order][:number]


def keep_top_k(logits: Logits, number: int) -> None:
    """Keep the `number` largest logits, in place; equal ones count as one."""
    if 0 < number < len(logits):
        least = np.partition(logits, len(logits) - number)[len(logits) - number]
        logits[logits < least] = -np.inf


def keep_top_p(logits: Logits, mass: float) -> None:
    """Keep the fewest largest logits whose probabilities add up to `mass`, in place."""
    if mass >= 1:
        return
    total = _log_total(logits)
    for number in (HEAD, len(logits)):
        best = largest(logits, number)
        sums = np.cumsum(np.exp(logits[best].astype(np.float64) - total))
        kept = int(np.searchsorted(sums, mass)) + 1
        if kept <= len(best):
            break
    least = logits[best[min(kept, len(best)) - 1]]
    logits[logits < least] = -np.inf


def keep_min_p(logits: Logits, share: float) -> None:
    """Keep the logits with at least this share of the greatest probability, in place."""
    if share > 0:
        logits[logits < logits.max() + np.log(share)] = -np.inf


def _log_total(logits: Logits) -> float:
    """The logarithm of the sum of all exponentials."""
    highest = float(logits.max())
    return highest + float(np.log(np.sum(np.exp(logits - highest), dtype=np.float64)))
