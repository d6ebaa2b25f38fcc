"""Probes of the processes of a fleet over loopback: readiness, liveness, models."""

from __future__ import annotations

from typing import Any

import httpx

from fleet_contract.api import control
from fleet_contract.api.control import ControlReport
from fleet_contract.names import (
    HEADER_INSTANCE,
    PATH_CONTROL,
    PATH_HEALTH,
    PATH_LIVE,
    PATH_READY,
)

TIMEOUT_SECONDS = 5.0


class Probe:
    """One HTTP client for all probes; it ignores proxy variables, which are not for loopback."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS)

    async def ready(self, base: str, instance: str) -> bool:
        """Whether the process that was started as `instance` responds to `/readyz` with 200."""
        return await self._status(f"{base}{PATH_READY}", instance) == httpx.codes.OK

    async def live(self, base: str, instance: str) -> bool | None:
        """Whether that process responds to `/livez` with 200; None without a response of it."""
        status = await self._status(f"{base}{PATH_LIVE}", instance)
        return None if status is None else status == httpx.codes.OK

    async def models(self, base: str) -> list[dict[str, Any]]:
        """The entries of `/v1/models`; empty without a usable response."""
        try:
            response = await self._client.get(f"{base}/v1/models")
            listed: list[dict[str, Any]] = response.json()["data"]
        except (httpx.HTTPError, ValueError, KeyError):
            return []
        return listed

    async def requests(self, base: str, instance: str) -> int | None:
        """The requests in flight and in the queue of the server that was started as `instance`:
        None if it responds too late, 0 without a usable response of it."""
        try:
            response = await self._client.get(f"{base}{PATH_HEALTH}")
            found = response.json()
            number = int(found["in_flight"]) + int(found["queue_depth"])
        except httpx.TimeoutException:
            return None
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return 0
        return number if response.headers.get(HEADER_INSTANCE) == instance else 0

    async def control(self, base: str, secret: str) -> ControlReport | None:
        """The control report of a router; None without a usable response."""
        try:
            response = await self._client.get(
                f"{base}{PATH_CONTROL}", headers={"authorization": f"Bearer {secret}"}
            )
            return control.parse(response.raise_for_status().content)
        except (httpx.HTTPError, ValueError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _status(self, url: str, instance: str) -> int | None:
        try:
            response = await self._client.get(url)
        except httpx.HTTPError:
            return None
        # Another process may hold the port.
        return response.status_code if response.headers.get(HEADER_INSTANCE) == instance else None
