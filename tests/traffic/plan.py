"""Rate, concurrency and limits of the traffic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests start at `rate` per second while fewer than `concurrency` are running.

    Traffic ends after `max_requests` or `seconds`, whichever comes first. A request without a
    complete response after `timeout` seconds has failed. With `keep_alive` connections are reused,
    as clients do; else every request opens its own. `host` is sent to an address that serves
    several hosts, such as an edge proxy.
    """

    base_url: str
    rate: float = 5.0
    concurrency: int = 8
    max_requests: int = 10_000
    seconds: float = 600.0
    timeout: float = 180.0
    keep_alive: bool = True
    api_key: str = "none"
    host: str = ""

    def __post_init__(self) -> None:
        for name in ("rate", "concurrency", "max_requests", "seconds", "timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")

    @property
    def root(self) -> str:
        """The base URL with /v1."""
        root = self.base_url.rstrip("/")
        return root if root.endswith("/v1") else f"{root}/v1"
