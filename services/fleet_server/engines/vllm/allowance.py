"""What following a format may cost: the processor time of the masks of one sequence."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_server.engines.guided.masks import BURST_SECONDS, STEP_SECONDS

MOST_SHARES = 10
"""Of STEP_SECONDS. In larger batches each sequence has a tenth as well, 0.3 ms: following usual
schemas takes 0.03 to 0.1 ms a token, constants alone 0.15 (docs/decisions.md)."""


class Allowance:
    """Not thread-safe. `seconds` is the processor time spent so far: waiting for other threads
    does not count against the format."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._allowed = BURST_SECONDS

    def spend(self, seconds: float) -> None:
        self.seconds += seconds

    def grow(self, sequences: int) -> None:
        """For a step that `sequences` sequences with a format share."""
        self._allowed += STEP_SECONDS / min(sequences, MOST_SHARES)

    @property
    def exceeded(self) -> bool:
        return self.seconds > self._allowed


def share_step(allowances: Sequence[Allowance]) -> None:
    """Distribute what the masks of a step may cost to its sequences with a format."""
    for each in allowances:
        each.grow(len(allowances))
