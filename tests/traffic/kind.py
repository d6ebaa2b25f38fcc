"""A kind of request: how it is asked, and what makes its answer a good one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx


class Wrong(Exception):
    """An answer that is not a good one; the text is the reason."""


class Truncated(Wrong):
    """An answer that began with a 200 and did not come to its end."""


@dataclass(slots=True)
class Call:
    """One request under way: `number` counts those of its kind, `begun` says that a 200
    was seen."""

    number: int
    request_id: str
    begun: bool = False
    endpoint: str = ""


class Kind(Protocol):
    """`name` is the one in the report."""

    @property
    def name(self) -> str: ...

    async def ask(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request and check its answer. Raises Wrong."""
