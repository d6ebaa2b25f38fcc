"""Builds the uvicorn server of a web app."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from fleet_web.request_body.pace import BODY_TIMEOUT, READ_RATE, READ_TIMEOUT, Pace
from fleet_web.server import Server
from fleet_web.uvicorn_ext import versions

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
ALL_ADDRESSES = "::"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate chain and its private key, in PEM."""

    chain: Path
    key: Path


def build(
    app: FastAPI,
    host: str,
    port: int,
    *,
    drain_timeout: float = 30,
    read_timeout: float = READ_TIMEOUT,
    read_rate: float = READ_RATE,
    body_timeout: float = BODY_TIMEOUT,
    keep_alive: int = KEEP_ALIVE_SECONDS,
    on_drain: Callable[[], None] | None = None,
    tls: Certificate | None = None,
) -> Server:
    """A server for `app`, of HTTPS where `tls` is given.

    On SIGTERM or SIGINT it stops accepting connections, completes running requests within
    `drain_timeout` seconds and returns from `run`. A body must arrive within `body_timeout`
    seconds, and on average `read_rate` bytes a second in every `read_timeout` seconds. A head has
    `read_timeout` seconds, and the reading of a response as many without progress, except with a
    version of uvicorn that `uvicorn_ext` was not tested with. Idle connections are closed after
    `keep_alive` seconds. `host` `::` stands for all addresses, of IPv6 and IPv4.
    """
    app.state.pace = Pace(read_timeout, read_rate, body_timeout)
    kind, protocol = implementation(read_timeout)
    config = uvicorn.Config(
        app,
        # Event loops listen on `::` for IPv6 only, and on no name for both, as far as there are.
        host="" if host == ALL_ADDRESSES else host,
        port=port,
        loop="uvloop",
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # X-Forwarded-For is not trusted: limits count by peer.
        proxy_headers=False,
        timeout_keep_alive=keep_alive,
        # Whole seconds; 0 would cancel running requests at once.
        timeout_graceful_shutdown=max(1, round(drain_timeout)),
        backlog=2048,
        ssl_certfile=tls.chain if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    return kind(config, on_drain)


def implementation(read_timeout: float) -> tuple[type[Server], Any]:
    """The class of servers and uvicorn's `http`: those of `uvicorn_ext`, or uvicorn's own."""
    if not versions.is_checked(uvicorn.__version__):
        logger.warning(
            "uvicorn %s is not one of the tested versions (%s): slow clients are not timed out, "
            "and requests may be lost when the process ends",
            uvicorn.__version__,
            ", ".join(f"{prefix}*" for prefix in versions.CHECKED),
        )
        return Server, "httptools"
    # Imported only here: another version may lack what these modules import.
    from fleet_web.uvicorn_ext.protocol import timed_protocol
    from fleet_web.uvicorn_ext.server import GracefulServer

    return GracefulServer, timed_protocol(read_timeout)
