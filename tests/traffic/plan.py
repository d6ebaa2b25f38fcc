"""How much traffic there is to be, and when it ends by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests start at `rate` a second while fewer than `at_once` are under way.

    Traffic ends after `most` requests or `seconds`, whichever comes first. A request without a
    complete answer after `patience` seconds has failed. With `keep_alive` connections are used
    again, as clients do; without it every request opens its own. `host` is asked for at an address
    that serves several, such as an edge proxy.
    """

    base_url: str
    rate: float = 5.0
    at_once: int = 8
    most: int = 10_000
    seconds: float = 600.0
    patience: float = 60.0
    keep_alive: bool = True
    api_key: str = "none"
    host: str = ""

    def __post_init__(self) -> None:
        for name in ("rate", "at_once", "most", "seconds", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")

    @property
    def root(self) -> str:
        """The address with its `/v1`."""
        root = self.base_url.rstrip("/")
        return root if root.endswith("/v1") else f"{root}/v1"
