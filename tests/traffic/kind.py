"""Interface of the kinds of requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx


class BadResponse(Exception):
    """A response that failed a check; the message is the reason."""


class Truncated(BadResponse):
    """A response that started with status 200 and broke off."""


@dataclass(slots=True)
class Call:
    """A running request: `number` counts those of its kind, `accepted` means status 200 came."""

    number: int
    request_id: str
    accepted: bool = False
    endpoint: str = ""


class Kind(Protocol):
    """A kind of request; `name` is used in the report."""

    @property
    def name(self) -> str: ...

    async def send(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request and check its response. Raises BadResponse."""
