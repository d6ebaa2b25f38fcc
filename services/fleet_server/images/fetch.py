"""Fetches an image over HTTP within bounds, from checked addresses only.

At most `max_bytes` in at most `timeout` seconds, redirects included. No cookies, credentials, proxy
or compression.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
from typing import Any

import httpcore
import httpx

from fleet_contract.errors import BadRequest, TooLarge
from fleet_contract.spec_parts import ImageInputs
from fleet_server.images.hosts import Hosts, IpAddress, Permitted

Resolve = Callable[[str, int], Awaitable[list[IpAddress]]]
"""All addresses of a host and port. Raises BadRequest."""

MAX_REDIRECTS = 3
MAX_URL_CHARS = 8192
MAX_ADDRESSES = 16
MAX_ATTEMPTS = 3
"""Addresses of a host to connect to in turn."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
AGENT = b"modelfleet"


class Fetcher:
    """Fetches images; `permitted` decides on the addresses of hosts that the settings do not
    list."""

    def __init__(self, settings: ImageInputs, permitted: Permitted, resolver: Resolve) -> None:
        self._settings = settings
        self._backend = CheckedBackend(Hosts(settings.allowed_hosts, permitted), resolver)

    async def fetch(self, address: str) -> bytes:
        """The body at the URL `address`. Raises BadRequest and TooLarge."""
        url = _parse(address)
        try:
            async with asyncio.timeout(self._settings.timeout):
                for _ in range(MAX_REDIRECTS + 1):
                    content, location = await self._get(url)
                    if location is None:
                        return content
                    url = _parse(str(url.join(location)))
        except TimeoutError:
            raise _failed(f"took longer than {self._settings.timeout:g} seconds") from None
        except httpx.InvalidURL:
            raise _failed("was redirected to an invalid URL") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError):
            raise _failed("failed: the host cannot be reached or does not speak HTTP") from None
        raise _failed(f"was redirected more than {MAX_REDIRECTS} times")

    async def _get(self, url: httpx.URL) -> tuple[bytes, str | None]:
        """The body, or the location of a redirect."""
        # A pool for one request: no connection or cookie of one fetch is used for another.
        headers = [(b"host", url.netloc), (b"accept", b"image/*"), (b"user-agent", AGENT)]
        limits = {"connect": self._settings.timeout, "read": self._settings.timeout}
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl, network_backend=self._backend
            ) as pool,
            pool.stream(
                b"GET", _core(url), headers=headers, extensions={"timeout": limits}
            ) as response,
        ):
            if response.status in REDIRECTS:
                location = _header(response, b"location")
                if location is None:
                    raise _failed("was redirected without a location")
                return b"", location
            if response.status != 200:
                raise _failed(f"returned status {response.status}")
            return await self._body(response), None

    async def _body(self, response: Any) -> bytes:
        most = self._settings.max_bytes
        length = _header(response, b"content-length")
        content = bytearray()
        if length is None or int(length) <= most:
            async for chunk in response.aiter_stream():
                content += chunk
                if len(content) > most:
                    break
            else:
                return bytes(content)
        raise TooLarge(f"The image at this URL has more than {most} bytes.")

    @cached_property
    def _ssl(self) -> Any:
        return httpx.create_ssl_context()


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only.

    A name is resolved once, all its addresses are checked, and the connection uses one of these:
    a name that resolves differently a moment later cannot bypass the check. TLS still verifies the
    name.
    """

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
        return await self._first(addresses[:MAX_ATTEMPTS], port, timeout)

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
        # Divided, so that an address that does not respond leaves time for the others.
        share = None if seconds is None else seconds / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout=share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(str(addresses[-1]), port, timeout=share)


async def resolve(host: str, port: int) -> list[IpAddress]:
    """All addresses of `host` from the system's resolver, IPv4 first.

    Raises BadRequest when there are none, or more than `MAX_ADDRESSES`.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _unresolved() from None
    addresses = {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    if not addresses or len(addresses) > MAX_ADDRESSES:
        raise _unresolved()
    return sorted(addresses, key=lambda address: (address.version, int(address)))


def _unresolved() -> BadRequest:
    return BadRequest("The host of the image's URL has no address.", code="image_fetch_failed")


def _parse(address: str) -> httpx.URL:
    if len(address) > MAX_URL_CHARS:
        raise BadRequest(f"An image's URL may have at most {MAX_URL_CHARS} characters.")
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, UnicodeError):
        raise BadRequest("The image's URL is invalid.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise BadRequest("Images are fetched over http and https only.")
    if url.userinfo:
        raise BadRequest("An image's URL must not contain credentials.")
    return url


def _core(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _header(response: Any, name: bytes) -> str | None:
    values = [value for key, value in response.headers if key.lower() == name]
    return values[0].decode("latin-1") if values else None


def _failed(how: str) -> BadRequest:
    return BadRequest(f"Fetching the image {how}.", code="image_fetch_failed")
