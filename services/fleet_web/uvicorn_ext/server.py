"""A server that lets clients close their idle connections before it does, and exits with 0."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType
from typing import Any

from fleet_web.server import Server

IDLE_SECONDS = 3.0
"""How long idle connections stay open after the signal to stop."""


class GracefulServer(Server):
    """Closes connections in an order that loses no request."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        # uvicorn would raise the signal again at the end; a clean exit has status 0.
        self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._wait_for_idle_connections(sockets or [])
        await super().shutdown(sockets)
        # The rest belongs to clients that do not read; closing the event loop would wait for them.
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _wait_for_idle_connections(self, sockets: list[socket.socket]) -> None:
        """Let clients close their idle connections first.

        A request may be on its way over a connection that is idle here, and would be lost. So no
        connection is accepted any more, responses carry `connection: close`, and only connections
        that stay idle, or stream for longer, are closed by the server.
        """
        listeners: list[Any] = [*self.servers, *sockets]
        for listener in listeners:
            listener.close()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        connections: list[Any] = list(state.connections)
        for connection in connections:
            if not _is_idle(connection) and not connection.cycle.response_started:
                connection.cycle.keep_alive = False
        seconds = min(IDLE_SECONDS, (self.config.timeout_graceful_shutdown or 0) / 4)
        # A quarter at most, so that the rest of the drain timeout is left to running requests.
        deadline = asyncio.get_running_loop().time() + seconds
        while any(map(_may_be_reused, state.connections)) and not self.force_exit:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(0.05)


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete


def _may_be_reused(connection: Any) -> bool:
    """Idle, or in a response whose head has already promised to keep the connection."""
    return _is_idle(connection) or (
        connection.cycle.response_started and connection.cycle.keep_alive
    )
