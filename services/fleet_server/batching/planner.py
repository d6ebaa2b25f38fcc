"""Which waiting inputs share the next pass: a pure decision, asked by the batcher.

Turns keep it fair: the request whose turn it is always takes part with its longest input, the
others in order with the input nearest to that length, then the room left is filled. Padding keeps
it fast: a pass is cut where running its shorter inputs apart costs less than padding them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PASS_TOKENS = 32
"""What starting one more pass costs, in tokens: measured on MiniLM, less on larger models."""

Pick = tuple[int, int]
"""A request and one of its inputs, both as positions in what was given to `plan`."""


def unpadded(length: int) -> int:
    """A model that pads a batch to its longest input and no further."""
    return length


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_tokens` counts padding; `max_requests` is the most requests in one pass, if bounded.

    `padded` gives the length a batch is padded to from its longest input.
    """

    max_items: int
    max_tokens: int
    max_requests: int | None = None
    padded: Callable[[int], int] = unpadded


def plan(waiting: Sequence[Sequence[int]], bounds: Bounds) -> list[Pick]:
    """The next pass, longest input first.

    `waiting` holds for each request, in turn, the lengths of its inputs in descending order, none
    empty. The first input of the first request is always chosen, even where it exceeds
    `max_tokens` by itself.
    """
    anchor = waiting[0][0]
    chosen: list[Pick] = [(0, 0)]
    longest = anchor

    def fits(length: int) -> bool:
        cost = bounds.padded(max(longest, length)) * (len(chosen) + 1)
        return len(chosen) < bounds.max_items and cost <= bounds.max_tokens

    starts = {0: 0}
    for request in range(1, min(len(waiting), bounds.max_requests or len(waiting))):
        item = _nearest(waiting[request], anchor)
        if fits(waiting[request][item]):
            chosen.append((request, item))
            longest = max(longest, waiting[request][item])
            starts[request] = item
        if len(chosen) >= bounds.max_items:
            break
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
    """The picks less those better run in a pass of their own; (0, 0) stays."""
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
