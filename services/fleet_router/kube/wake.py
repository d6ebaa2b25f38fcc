"""Requests a server for a model that has none, by an annotation on its resource.

The operator scales the model up. Each router writes at most once in `EVERY_SECONDS` for a model,
and not while the annotation is younger than that, so many routers write little more than one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from fleet_contract.names import ANNOTATION_WAKE
from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_router.kube.objects import MODEL
from fleet_router.routing.table import Origin
from fleet_web.logs import event

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


class Waker:
    """Writes annotations in background tasks and keeps the time of the last one for each model."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._written: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, origin: Origin) -> None:
        """Request a server of `origin` unless that was done within `EVERY_SECONDS`."""
        now = time.time()
        key = origin.namespace, origin.name
        if now - self._written.get(key, 0.0) < EVERY_SECONDS or age(origin, now) < EVERY_SECONDS:
            return
        self._written = {k: at for k, at in self._written.items() if now - at < EVERY_SECONDS}
        self._written[key] = now
        task = asyncio.create_task(self._write(origin, now))
        # The event loop holds tasks weakly: without a reference one may be collected unfinished.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, origin: Origin, now: float) -> None:
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {"metadata": {"annotations": {ANNOTATION_WAKE: stamp}}}
        try:
            await self._client.merge_patch(MODEL, origin.namespace, origin.name, body)
        except KubeError as error:
            event(logger, "wake_failed", level=logging.WARNING, namespace=origin.namespace,
                  resource=origin.name, error=str(error))  # fmt: skip
        else:
            event(logger, "woke", namespace=origin.namespace, resource=origin.name)


def age(origin: Origin, now: float) -> float:
    """Seconds since the annotation last seen was written by any router; infinite without one."""
    try:
        written = datetime.fromisoformat(origin.wake_at)
    except ValueError:
        return float("inf")
    if written.tzinfo is None:
        return float("inf")
    # Absolute: a router whose clock is ahead must not stop all others from writing.
    return abs(now - written.timestamp())
