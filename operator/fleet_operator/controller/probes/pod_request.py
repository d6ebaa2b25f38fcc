"""Requests to servers and routers in pods, bounded in seconds and bytes."""

from __future__ import annotations

import asyncio

import aiohttp

from fleet_operator.resources.views import PodView
from fleet_operator.settings import OperatorSettings
from fleet_web.read_bounded import read_bounded

FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What `get` raises."""


async def get(
    http: aiohttp.ClientSession,
    pod: PodView,
    port: int,
    path: str,
    seconds: float,
    limit: int,
    any_status: bool = False,
) -> bytes:
    """The whole body of a response from the pod.

    Raises one of FAILURES: without a complete response within `seconds`, for more than `limit`
    bytes and, unless `any_status`, for a status of 400 or more. Redirects are not followed.
    """
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    async with (
        asyncio.timeout(seconds),
        http.get(f"http://{host}:{port}{path}", allow_redirects=False) as response,
    ):
        if not any_status:
            response.raise_for_status()
        return await read_bounded(response, limit)


def is_router(pod: PodView, settings: OperatorSettings) -> bool:
    """Whether a pod with an address is a router of this release.

    Pods of other namespaces do not count: with the right labels, anyone who may create a pod could
    report anything.
    """
    if pod.namespace != settings.router_namespace or not pod.ip:
        return False
    return all(pod.labels.get(key) == value for key, value in settings.router_selector.items())
