"""Probes starting servers directly while requests wait for them.

The kubelet probes once a second, and its result takes some tenths of a second more to reach an
EndpointSlice. A server of this project reports on /readyz as soon as it is ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import aiohttp
import orjson

from fleet_contract.names import PATH_READY
from fleet_contract.server_protocol import ServerPhase
from fleet_router.kube.objects import SliceView
from fleet_router.routing.table import Endpoint
from fleet_web.read_bounded import read_bounded

Key = tuple[str, str]
Probe = Callable[[Endpoint], Awaitable[bool]]

EVERY_SECONDS = 0.1
EXPECTED_SECONDS = 15.0
"""How long servers of a model are probed after the last request that waited for it."""
TRUSTED_SECONDS = 5.0
"""How long a result counts; by then the EndpointSlice should list the server as ready."""
TIMEOUT_SECONDS = 1.0
RESPONSE_BYTES = 64 * 1024


class EarlyServers:
    """Servers found ready ahead of their EndpointSlice; `changed` is called with the resources
    whose servers change."""

    def __init__(self, probe: Probe, changed: Callable[[Iterable[Key]], None]) -> None:
        self._probe = probe
        self._changed = changed
        self._expected: dict[Key, float] = {}
        self._found: dict[Endpoint, tuple[float, Key]] = {}
        self._wake = asyncio.Event()

    def expect(self, key: Key) -> None:
        """Probe the servers of a resource for the next `EXPECTED_SECONDS`."""
        self._expected[key] = time.monotonic() + EXPECTED_SECONDS
        self._wake.set()

    def of(self, view: SliceView) -> tuple[Endpoint, ...]:
        """Servers of a slice that are ready but not yet listed as such."""
        return tuple(one for one in view.starting if one in self._found)

    async def run(self, starting: Callable[[Key], Iterable[Endpoint]]) -> None:
        """Probe for ever; `starting` returns the servers of a resource that are not ready."""
        while True:
            await self._wake.wait()
            await self.probe_once(starting)
            if not self._expected and not self._found:
                self._wake.clear()
            else:
                await asyncio.sleep(EVERY_SECONDS)

    async def probe_once(self, starting: Callable[[Key], Iterable[Endpoint]]) -> None:
        """Probe all starting servers of expected resources."""
        now = time.monotonic()
        self._expected = {key: until for key, until in self._expected.items() if until > now}
        trusted = {one: found for one, found in self._found.items() if found[0] > now}
        probed = [(one, key) for key in self._expected for one in starting(key)
                  if one not in trusted]  # fmt: skip
        ready = await asyncio.gather(*(self._probe(one) for one, _ in probed))
        trusted |= {
            one: (now + TRUSTED_SECONDS, key)
            for (one, key), yes in zip(probed, ready, strict=True)
            if yes
        }
        # Expired results as well: a route must lose a server whose EndpointSlice never listed it.
        changed = {
            key
            for one, (_, key) in (*trusted.items(), *self._found.items())
            if (one in trusted) != (one in self._found)
        }
        self._found = trusted
        if changed:
            self._changed(changed)


class ReadyProbe:
    """Requests /readyz of a server."""

    def __init__(self) -> None:
        # aiohttp's sessions need a running event loop, so the first call creates it.
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.close()

    async def __call__(self, endpoint: Endpoint) -> bool:
        """Whether the server reports itself ready, as servers of this project do."""
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout)
        try:
            url = f"http://{endpoint.authority}{PATH_READY}"
            async with self._http.get(url, allow_redirects=False) as response:
                content = await read_bounded(response, RESPONSE_BYTES)
                return response.status == 200 and _is_ready(content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return False


def _is_ready(content: bytes) -> bool:
    try:
        body = orjson.loads(content)
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("status") == ServerPhase.READY
