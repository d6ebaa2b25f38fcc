"""The settings of a benchmark: server, model and load."""

from __future__ import annotations

from dataclasses import dataclass

MAX_REQUESTS = 1_000_000
MAX_CONCURRENCY = 1024


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """`base_url` is with or without `/v1`; `timeout` is the seconds of a request.

    Without `rate`, each of `clients` sends its next request after the response to its last (closed
    loop). With it, `rate` requests start each second regardless of responses (open loop), at most
    `clients` at a time; waiting for one of these slots counts as latency.
    """

    base_url: str
    model: str
    requests: int
    concurrency: int
    warmup: int
    rate: float | None
    timeout: float
    api_key: str | None = None

    @property
    def clients(self) -> int:
        """Requests in flight at most: `concurrency`, and no more than there are requests."""
        return min(self.concurrency, self.requests)

    @property
    def root(self) -> str:
        """The address, ending with `/v1`."""
        stripped = self.base_url.rstrip("/")
        return stripped if stripped.endswith("/v1") else f"{stripped}/v1"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
