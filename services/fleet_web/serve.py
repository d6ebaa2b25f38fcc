"""Runs a web app on uvicorn the one way both web processes do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from fleet_web.protocol import with_timeouts


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
        await super().shutdown(sockets)
        # What is left belongs to clients that do not read; closing the loop would wait for them.
        for connection in list(self.server_state.connections):
            connection.transport.abort()


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
