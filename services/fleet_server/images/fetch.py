"""Fetches an image over http(s) within bounds; called by the loader where the spec allows it.

At most `max_bytes` in at most `timeout` seconds, redirects and all; each address is checked before
it is connected to, each redirect is one more address. No cookies, no credentials, no proxy, no
compression.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any

import httpcore
import httpx

from fleet_contract.errors import BadRequest, TooLarge
from fleet_contract.spec_parts import ImageInputs
from fleet_server.images.addresses import Permitted
from fleet_server.images.checked_backend import CheckedBackend
from fleet_server.images.hosts import Hosts
from fleet_server.images.resolve import Resolve

MAX_REDIRECTS = 3
MAX_URL_CHARS = 8192
REDIRECTS = frozenset({301, 302, 303, 307, 308})
AGENT = b"modelfleet"


class Fetcher:
    """Bytes of images somewhere else; `permitted` decides on the addresses of hosts that the
    settings do not list."""

    def __init__(self, settings: ImageInputs, permitted: Permitted, resolver: Resolve) -> None:
        self._settings = settings
        self._backend = CheckedBackend(Hosts(settings.allowed_hosts, permitted), resolver)

    async def fetch(self, address: str) -> bytes:
        """The body at `address`. Raises BadRequest or TooLarge that says what went wrong."""
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
            raise _failed("was redirected to an address that is none") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError):
            raise _failed("failed: the host cannot be reached or does not speak http") from None
        raise _failed(f"was redirected more than {MAX_REDIRECTS} times")

    async def _get(self, url: httpx.URL) -> tuple[bytes, str | None]:
        """The body, or where to look instead."""
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
                    raise _failed("was redirected to no address")
                return b"", location
            if response.status != 200:
                raise _failed(f"was answered with status {response.status}")
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
        raise TooLarge(f"The image at this address has more than {most} bytes.")

    @cached_property
    def _ssl(self) -> Any:
        return httpx.create_ssl_context()


def _parse(address: str) -> httpx.URL:
    if len(address) > MAX_URL_CHARS:
        raise BadRequest(f"An image's address has at most {MAX_URL_CHARS} characters.")
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, UnicodeError):
        raise BadRequest("The image's address is not a URL.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise BadRequest("Images are fetched over http and https only.")
    if url.userinfo:
        raise BadRequest("The address of an image must not hold credentials.")
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
