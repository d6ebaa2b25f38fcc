"""Opens connections only to addresses that were checked; httpcore's network layer for `fetch`.

A name is resolved once, every address it has is checked, and the connection goes to one of those
very addresses: a name that resolves differently a moment later gains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpcore

from fleet_contract.errors import BadRequest
from fleet_server.images.addresses import IpAddress
from fleet_server.images.hosts import Hosts
from fleet_server.images.resolve import Resolve

ATTEMPTS = 3


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """TLS above it still verifies the name that was asked for."""

    def __init__(self, hosts: Hosts, resolver: Resolve) -> None:
        self._hosts = hosts
        self._resolve = resolver
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises BadRequest unless every address of `host` is permitted."""
        addresses = await self._resolve(host, port)
        self._hosts.check(host, addresses)
        return await self._first(addresses[:ATTEMPTS], port, timeout)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise BadRequest("Images are not fetched from sockets.", code="image_fetch_failed")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    async def _first(
        self, addresses: list[IpAddress], port: int, seconds: float | None
    ) -> httpcore.AsyncNetworkStream:
        share = None if seconds is None else seconds / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout=share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(str(addresses[-1]), port, timeout=share)
