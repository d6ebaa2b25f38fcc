"""Refuses requests of web pages to a server on a loopback address without keys.

A page of any site runs in a browser on this machine. With a name that first resolves to its own
server and then to 127.0.0.1 (DNS rebinding) it could even read the responses: such requests have
that name in `Host`. Other pages send their origin in `Origin`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from fleet_contract.errors import Forbidden
from fleet_web.errors import error_response
from fleet_web.exposure import is_local_name

ANY = "*"


class LoopbackGuard:
    """Pure ASGI. `hosts` are accepted in `Host` besides local names, `origins` in `Origin` besides
    those of local pages; `*` accepts all. Requests without these headers are accepted."""

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] = (), origins: Collection[str] = ()
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self.refusal(scope["headers"])):
            await error_response(Forbidden(reason), scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Why a request with these headers is refused, "" if it is not."""
        for name, value in headers:
            if name == b"host" and not self._accepts_host(value.decode("latin-1")):
                return (
                    "The name in `Host` is not one of this machine; add it to ALLOWED_HOSTS, or"
                    " require API keys (KEYS_FILE)."
                )
            if name == b"origin" and not self._accepts_origin(value.decode("latin-1")):
                return (
                    "Pages of this origin may not use the server; add the origin to CORS_ORIGINS."
                )
        return ""

    def _accepts_host(self, value: str) -> bool:
        if ANY in self._hosts:
            return True
        name = _host_of(f"//{value}")
        return is_local_name(name) or name in self._hosts

    def _accepts_origin(self, value: str) -> bool:
        if ANY in self._origins or value in self._origins:
            return True
        scheme = value.partition(":")[0].lower()
        # Desktop applications and extensions have their own schemes, which no site can send.
        if scheme not in ("http", "https"):
            return scheme != "null"
        return is_local_name(_host_of(value))


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
