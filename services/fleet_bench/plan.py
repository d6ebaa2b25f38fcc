"""What to measure and how hard; built once from the command line."""

from __future__ import annotations

from dataclasses import dataclass

MAX_REQUESTS = 1_000_000
MAX_CONCURRENCY = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """`base_url` is with or without `/v1`. `timeout` is seconds a request may take.

    With `rate` None each of `concurrency` clients sends its next request when its last was answered
    (closed loop). Else requests start `rate` times a second whatever the answers do (open loop), at
    most `concurrency` at once; waiting for one of those places counts as latency.
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
    def root(self) -> str:
        """The address up to and with `/v1`."""
        stripped = self.base_url.rstrip("/")
        return stripped if stripped.endswith("/v1") else f"{stripped}/v1"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
