"""Writes Events after the reconciles that cause them, so that they delay no model."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fleet_contract.names import API_VERSION, KIND
from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed
from fleet_operator.kinds import EVENT
from fleet_operator.names import FIELD_MANAGER
from fleet_operator.resources.digests import digest
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

LIMIT = 10_000
"""Events that wait at most; of more, the oldest are dropped."""
BUSY_DEPTH = 16
"""Models in work from which on the API server is left to them."""
BUSY_SECONDS = 1.0
"""Pause before each Event meanwhile."""
MESSAGE_BYTES = 1024
"""The API server refuses longer messages. Source: pkg/apis/core/validation/events.go."""


class EventWriter:
    """Writes the Events of all models one after the other.

    Best effort, like client-go's event recorder: a refused Event is logged and not retried, and
    those that still wait when the process ends are lost. `depth` is the number of models that wait
    for a reconcile or are being reconciled.
    """

    def __init__(self, api: KubeClient, depth: Callable[[], int]) -> None:
        self._api = api
        self._depth = depth
        self._waiting: deque[dict[str, Any]] = deque(maxlen=LIMIT)
        self._wake = asyncio.Event()

    def add(self, observed: Observed, events: tuple[Event, ...]) -> None:
        """Enqueue Events about a model, with the current time."""
        dropped = len(self._waiting) + len(events) - LIMIT
        if dropped > 0:
            log(logger, "events_dropped", level=logging.WARNING, number=dropped)
        self._waiting.extend(manifest(observed, event) for event in events)
        if self._waiting:
            self._wake.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            await self._wake.wait()
            if self._depth() >= BUSY_DEPTH:
                await asyncio.sleep(BUSY_SECONDS)
            body = self._waiting.popleft()
            if not self._waiting:
                self._wake.clear()
            try:
                await self._api.create(EVENT, body)
            except KubeError as error:
                log(logger, "event_refused", level=logging.WARNING, error=str(error))
            except Exception:
                logger.exception("event_broken")


def manifest(observed: Observed, event: Event) -> dict[str, Any]:
    """A core/v1 Event about the InferenceModel."""
    now, meta = datetime.now(UTC), observed.model["metadata"]
    moment = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    unique = digest([meta["uid"], event, moment])
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{unique}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message.encode()[:MESSAGE_BYTES].decode(errors="ignore"),
        "action": "Reconcile",
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
        "source": {"component": FIELD_MANAGER},
        "eventTime": moment,
        "firstTimestamp": f"{moment[:19]}Z",
        "lastTimestamp": f"{moment[:19]}Z",
        "count": 1,
    }
