"""Outcomes of requests, and named periods of time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a request; times are seconds since the start of the traffic.

    `failure` is None for a valid response; `truncated` means that a failed one started with status
    200 and broke off.
    """

    kind: str
    started: float
    ended: float
    failure: str | None
    truncated: bool
    request_id: str
    endpoint: str


@dataclass(slots=True)
class Mark:
    """A named period; a request belongs to it if it was running at any time of it."""

    name: str
    began: float
    ended: float = math.inf

    def contains(self, outcome: Outcome) -> bool:
        return outcome.started <= self.ended and outcome.ended >= self.began
