"""Runs a web app on uvicorn the one way both web processes do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from fleet_web.protocol import with_timeouts

FAREWELL_SECONDS = 3.0
"""How long idle connections stay open once the server is told to stop."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate chain and its private key, in PEM."""

    chain: Path
    key: Path


class Server(uvicorn.Server):
    """Calls `on_drain` at the first signal, so that readiness turns bad before sockets close."""

    def __init__(self, config: uvicorn.Config, on_drain: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_drain = on_drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._on_drain is not None and not self.should_exit:
            self._on_drain()
        super().handle_exit(sig, frame)
        # uvicorn would raise the signal again at the end: a clean end is status 0.
        self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._say_farewell(sockets or [])
        await super().shutdown(sockets)
        # What is left belongs to clients that do not read; closing the loop would wait for them.
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _say_farewell(self, sockets: list[socket.socket]) -> None:
        """Have clients close their idle connections before we do.

        A request may be on its way over a connection that looks idle here, and would be lost. So no
        new ones are taken, answers say `connection: close`, and only what stays idle, or streams
        for longer, is closed.
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
        most = min(FAREWELL_SECONDS, (self.config.timeout_graceful_shutdown or 0) / 4)
        deadline = asyncio.get_running_loop().time() + most
        while any(map(_may_be_reused, state.connections)) and not self.force_exit:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(0.05)


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete


def _may_be_reused(connection: Any) -> bool:
    """Idle, or in an answer whose head has already promised to keep the connection."""
    return _is_idle(connection) or (
        connection.cycle.response_started and connection.cycle.keep_alive
    )


def build(
    app: FastAPI,
    host: str,
    port: int,
    *,
    drain_timeout: float = 30,
    read_timeout: float = 30,
    on_drain: Callable[[], None] | None = None,
    tls: Certificate | None = None,
) -> Server:
    """A server for `app`, of HTTPS where `tls` is given. On SIGTERM or SIGINT it stops accepting,
    finishes what is running for at most `drain_timeout` seconds and returns from `run`."""
    app.state.read_timeout = read_timeout
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=with_timeouts(read_timeout),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(drain_timeout)),
        backlog=2048,
        ssl_certfile=tls.chain if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    return Server(config, on_drain)
