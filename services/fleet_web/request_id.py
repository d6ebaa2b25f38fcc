"""Gives every request an id, the client's or a generated one, and returns it in the response."""

from __future__ import annotations

import random
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_contract.names import HEADER_REQUEST_ID
from fleet_web.current_request import CURRENT
from fleet_web.current_request import current as current

_ACCEPTED = re.compile(rb"^[A-Za-z0-9._:-]{1,128}$")
_NAME = HEADER_REQUEST_ID.encode()


def generate() -> str:
    """A new id; random, but not a secret."""
    return f"req-{random.getrandbits(128):032x}"


class RequestIdMiddleware:
    """Pure ASGI. An id with characters outside of `[A-Za-z0-9._:-]` or over 128 is replaced."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == _NAME), b"")
        identifier = sent.decode() if _ACCEPTED.match(sent) else generate()
        token = CURRENT.set(identifier)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [pair for pair in message["headers"] if pair[0].lower() != _NAME]
                message["headers"] = [*others, (_NAME, identifier.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            CURRENT.reset(token)
