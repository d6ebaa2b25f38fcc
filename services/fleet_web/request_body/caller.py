"""The caller of a request: the router's hash of its key or address, else the peer."""

from __future__ import annotations

import re

from starlette.types import Scope

from fleet_contract.server_protocol import CALLER_HEADER

NAME = CALLER_HEADER.encode()
HASH = re.compile(rb"[0-9a-f]{16}")


def caller_of(scope: Scope) -> str:
    """The caller of an ASGI request."""
    for name, value in scope["headers"]:
        if name == NAME and HASH.fullmatch(value):
            return str(value.decode())
    client = scope.get("client")
    return str(client[0]) if client else ""
