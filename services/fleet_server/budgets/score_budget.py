"""Bounds the memory that the probabilities of tokens take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fleet_contract.errors import BadRequest, QueueFull

MOST_SCORES = 400_000
MOST_AT_ONCE = 2 * MOST_SCORES
"""Probabilities of a response, and of all that run. Each takes about 300 bytes until it is
rendered, and 100 bytes as JSON."""


class ScoreBudget:
    """Of a response, and of all that run at the same time. Not thread-safe."""

    def __init__(self, most: int = MOST_SCORES, at_once: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._free = at_once

    @contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Reserve `number` for a response. Raises BadRequest and QueueFull."""
        if number > self._most:
            raise BadRequest(
                f"The response may have {number} probabilities (new tokens of all choices, and "
                f"those of echoed prompts, times one more than the most probable ones); at most "
                f"{self._most} are accepted.",
                param="logprobs",
                code="too_many_logprobs",
            )
        if number > self._free:
            raise QueueFull(
                "The probabilities of other responses take all of their memory; please try again.",
                retry_after=1,
            )
        self._free -= number
        try:
            yield
        finally:
            self._free += number
