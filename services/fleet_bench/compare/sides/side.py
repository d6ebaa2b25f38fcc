"""One of the two servers compared."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_bench.plan import Plan


@dataclass(frozen=True, slots=True)
class Side:
    """`name` is for reports, `model` the id it knows, `pid` its process where memory is taken."""

    name: str
    url: str
    model: str
    pid: int | None = None
    api_key: str | None = None

    def plan(self, requests: int, concurrency: int, timeout: float) -> Plan:
        """A closed loop of `concurrency` clients, without warm-up."""
        return Plan(self.url, self.model, requests, concurrency, 0, None, timeout, self.api_key)
