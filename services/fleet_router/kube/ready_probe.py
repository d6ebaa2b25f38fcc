"""Servers that are ready before the cluster says so: asked while requests wait for them.

The kubelet asks a server once a second, and what it hears takes some tenths more to become an
EndpointSlice. `kube_source` shows here which models are waited for and which servers they have that
are not ready yet; a server of this project says so itself, the second it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import orjson

from fleet_contract.names import PATH_READY
from fleet_router.kube.objects import SliceView
from fleet_router.routing.table import Endpoint

Key = tuple[str, str]
Ask = Callable[[Endpoint], Awaitable[bool]]

EVERY_SECONDS = 0.1
EXPECTED_SECONDS = 15.0
"""How long a model is asked for after somebody last waited for it."""
TRUSTED_SECONDS = 5.0
"""By then the cluster says so too, or the server is not believed."""
TIMEOUT_SECONDS = 1.0
RESPONSE_BYTES = 64 * 1024


class EarlyServers:
    """`changed` hears when `of` would answer differently."""

    def __init__(self, ask: Ask, changed: Callable[[], None]) -> None:
        self._ask = ask
        self._changed = changed
        self._expected: dict[Key, float] = {}
        self._found: dict[Endpoint, float] = {}
        self._wake = asyncio.Event()

    def expect(self, key: Key) -> None:
        """Somebody waits for a server of this resource."""
        self._expected[key] = time.monotonic() + EXPECTED_SECONDS
        self._wake.set()

    def of(self, view: SliceView) -> tuple[Endpoint, ...]:
        """The servers of a slice that were found to be ready before it says so."""
        return tuple(one for one in view.starting if one in self._found)

    async def run(self, starting: Callable[[], Mapping[Key, tuple[Endpoint, ...]]]) -> None:
        """Ask for ever; `starting` tells the servers that are not ready, by resource."""
        while True:
            await self._wake.wait()
            await self.look(starting())
            if not self._expected and not self._found:
                self._wake.clear()
            else:
                await asyncio.sleep(EVERY_SECONDS)

    async def look(self, starting: Mapping[Key, tuple[Endpoint, ...]]) -> None:
        """Ask the servers of all models that are waited for once."""
        now = time.monotonic()
        self._expected = {key: until for key, until in self._expected.items() if until > now}
        trusted = {one: until for one, until in self._found.items() if until > now}
        asked = [one for key in self._expected for one in starting.get(key, ())
                 if one not in trusted]  # fmt: skip
        answers = await asyncio.gather(*(self._ask(one) for one in asked))
        trusted |= {
            one: now + TRUSTED_SECONDS for one, yes in zip(asked, answers, strict=True) if yes
        }
        if trusted.keys() != self._found.keys():
            self._found = trusted
            self._changed()


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
                content = await response.content.read(RESPONSE_BYTES)
                return response.status == 200 and _is_ready(content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return False


def _is_ready(content: bytes) -> bool:
    try:
        body = orjson.loads(content)
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("status") == "ready"
