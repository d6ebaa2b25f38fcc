"""What became of one request, and a named stretch of time; `driver` makes both, `report` reads."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """Times in seconds since the traffic began. `failure` is None for a good answer; `truncated`
    says that a failed one began with a 200 and did not come to its end."""

    kind: str
    started: float
    ended: float
    failure: str | None
    truncated: bool
    request_id: str
    endpoint: str


@dataclass(slots=True)
class Mark:
    """From `began` to `ended`; a request belongs to it if it was under way at any time of it."""

    name: str
    began: float
    ended: float = math.inf

    def holds(self, outcome: Outcome) -> bool:
        return outcome.started <= self.ended and outcome.ended >= self.began
