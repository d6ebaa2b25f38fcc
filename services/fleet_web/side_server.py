"""Serves a second app on its own socket, in the event loop of the first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from fleet_web.serve import ALL_ADDRESSES, implementation

BACKLOG = 128
READ_SECONDS = 30.0
"""Seconds without progress on a request or on the reading of a response."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; on `::` one of both families, or of IPv4 where there is no IPv6.

    Raises OSError with the address where it is not available.
    """
    is_dual = host == ALL_ADDRESSES
    if is_dual and not socket.has_dualstack_ipv6():
        host, is_dual = "0.0.0.0", False  # noqa: S104  (the same, of IPv4)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual
        )
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error


async def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until cancelled; `listener` stays open."""
    _, protocol = implementation(READ_SECONDS)
    server = _SideServer(
        uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    # uvicorn closes the sockets it is given.
    copy = listener.dup()
    try:
        await server.serve(sockets=[copy])
    except asyncio.CancelledError:
        await server.shutdown(sockets=[copy])
        raise


class _SideServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the first server."""
        yield
