"""What is known about the request being answered; `proxy` fills it, `access` reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

KEY = "modelfleet.exchange"


@dataclass(slots=True)
class Exchange:
    """`path` is an allow-listed path or "", `model` a configured id or "": never the client's
    own words. `status` is set where no response tells it: 499 for a client that left, 502 for an
    answer that was cut off. The others are as the response said. `begun` is
    true once a response has started."""

    path: str = ""
    model: str = ""
    endpoint: str = ""
    status: int = 0
    attempts: int = 0
    begun: bool = False


def of(scope: Scope) -> Exchange:
    """The exchange of a request that came through `access`."""
    return cast(Exchange, scope[KEY])
