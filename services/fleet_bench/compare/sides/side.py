"""One of the two servers of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_bench.settings import BenchSettings


@dataclass(frozen=True, slots=True)
class Side:
    """`name` is for reports, `model` the id at this server, `pid` the process to measure."""

    name: str
    url: str
    model: str
    pid: int | None = None
    api_key: str | None = None

    def settings(self, requests: int, concurrency: int, timeout: float) -> BenchSettings:
        """A closed loop of `concurrency` clients, without warm-up."""
        return BenchSettings(
            self.url, self.model, requests, concurrency, 0, None, timeout, self.api_key
        )
