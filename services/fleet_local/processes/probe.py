"""Asks a process of the fleet over loopback how it is. Called by `service` and `fleet`."""

from __future__ import annotations

from typing import Any

import httpx

from fleet_contract.names import PATH_LIVE, PATH_READY

ASK_SECONDS = 5.0


class Probe:
    """Shares one client; proxies of the environment are for the outside, not for loopback."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(trust_env=False, timeout=ASK_SECONDS)

    async def ready(self, base: str) -> bool:
        """Whether it takes traffic."""
        return await self._status(f"{base}{PATH_READY}") == httpx.codes.OK

    async def live(self, base: str) -> bool | None:
        """False when only a new process helps, None when it did not answer."""
        status = await self._status(f"{base}{PATH_LIVE}")
        return None if status is None else status == httpx.codes.OK

    async def models(self, base: str) -> list[dict[str, Any]]:
        """What `/v1/models` lists; nothing when it does not answer."""
        try:
            answer = await self._client.get(f"{base}/v1/models")
            listed: list[dict[str, Any]] = answer.json()["data"]
        except (httpx.HTTPError, ValueError, KeyError):
            return []
        return listed

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _status(self, url: str) -> int | None:
        try:
            return (await self._client.get(url)).status_code
        except httpx.HTTPError:
            return None
