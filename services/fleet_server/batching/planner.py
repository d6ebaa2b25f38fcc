"""Plans which waiting inputs share the next pass.

For fairness the longest input of the first request is always chosen, then from each other request
in order the input nearest to that length; remaining capacity is filled from the same requests. For
speed the pass is cut where running its shorter inputs separately costs less than padding them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PASS_TOKENS = 32
"""Cost of one more pass, in tokens: measured with MiniLM, lower for larger models."""

Pick = tuple[int, int]
"""Positions of a request and of one of its inputs in the argument of `plan`."""


def unpadded(length: int) -> int:
    """The padded length for a model that pads a batch to its longest input."""
    return length


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`max_tokens` includes padding; `max_requests` None is unbounded.

    `padded` maps the length of the longest input to the length the batch is padded to.
    """

    max_items: int
    max_tokens: int
    max_requests: int | None = None
    padded: Callable[[int], int] = unpadded


def plan(
    waiting: Sequence[Sequence[int]], bounds: BatchLimits, leading: int | None = None
) -> list[Pick]:
    """The next pass, longest input first.

    `waiting` holds the lengths of each request's inputs in descending order, none empty. The first
    input of the first request is chosen even if it alone exceeds `max_tokens`. The `leading` first
    requests (all by default) fill the pass before the others get a place in it.
    """
    anchor = waiting[0][0]
    chosen: list[Pick] = [(0, 0)]
    longest = anchor

    def fits(length: int) -> bool:
        cost = bounds.padded(max(longest, length)) * (len(chosen) + 1)
        return len(chosen) < bounds.max_items and cost <= bounds.max_tokens

    number = min(len(waiting), bounds.max_requests or len(waiting))
    first = number if leading is None else min(leading, number)
    for group in (range(first), range(first, number)):
        starts = {}
        for request in group:
            if len(chosen) >= bounds.max_items:
                break
            item = _nearest(waiting[request], anchor)
            if request == 0:
                starts[request] = 0
            elif fits(waiting[request][item]):
                chosen.append((request, item))
                longest = max(longest, waiting[request][item])
                starts[request] = item
        for request, start in starts.items():
            for item in range(start + 1, len(waiting[request])):
                if not fits(waiting[request][item]):
                    break
                chosen.append((request, item))
    chosen.sort(key=lambda pick: -waiting[pick[0]][pick[1]])
    return _without_waste(chosen, [waiting[r][i] for r, i in chosen], bounds.padded)


def _nearest(descending: Sequence[int], length: int) -> int:
    """Position of the value nearest to `length`, the longer of two equally near."""
    after = bisect_left(descending, -length, key=lambda value: -value)
    if after == len(descending):
        return after - 1
    if after and descending[after - 1] - length <= length - descending[after]:
        return after - 1
    return after


def _without_waste(
    picks: list[Pick], lengths: list[int], padded: Callable[[int], int]
) -> list[Pick]:
    """The picks without those that cost less in a separate pass; (0, 0) is kept."""
    while True:
        here = padded(lengths[0])
        savings = [
            (len(lengths) - cut) * (here - padded(lengths[cut])) for cut in range(len(lengths))
        ]
        best = max(range(len(lengths)), key=savings.__getitem__)
        if savings[best] <= PASS_TOKENS:
            return picks
        keep = slice(best) if (0, 0) in picks[:best] else slice(best, None)
        picks, lengths = picks[keep], lengths[keep]
