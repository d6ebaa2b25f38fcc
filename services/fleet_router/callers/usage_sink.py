"""Sends usage as CloudEvents to an HTTP sink, at least once, in batches.

Format: cloudevents.io, specification 1.0, JSON batch format over HTTP
(github.com/cloudevents/spec, cloudevents/bindings/http-protocol-binding.md). `data` of an event is
a line of the usage log; an event that is sent again has the same `source` and `id`.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from fleet_router.metrics import RouterMetrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)

TYPE = "dev.modelfleet.usage"
CONTENT_TYPE = "application/cloudevents-batch+json"
COLLECT_SECONDS = 0.5
"""Events within this time are sent together."""
BATCH = 500
"""Events in one request, about 250 kB."""
MAX_PENDING = 20_000
"""Events that are kept while the sink does not accept them, about 10 MB; further ones are lost."""
TIMEOUT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 30.0
CLOSE_SECONDS = 5.0
"""Time for the last events when the router ends."""
INVALID = frozenset({400, 415, 422})
"""Statuses after which the same events would be refused again."""
TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Sink:
    """An http(s) address and its bearer token, "" for none."""

    address: str
    token: str = field(default="", repr=False)


class UsageSink:
    """Keeps events until they are sent; `run` must run. Requests never wait for it."""

    def __init__(self, sink: Sink, metrics: RouterMetrics) -> None:
        self._sink = sink
        self._metrics = metrics
        self._pending: list[bytes] = []
        self._arrived = asyncio.Event()
        self._source = f"/modelfleet/router/{platform.node()}"
        self._process = uuid.uuid4().hex
        self._number = 0
        self._most = BATCH
        self._failing = False

    def add(self, line: dict[str, Any]) -> None:
        """Keep an event with these data, unless too many are kept already."""
        if len(self._pending) >= MAX_PENDING:
            self._count("full", 1)
            return
        self._number += 1
        self._pending.append(
            orjson.dumps({
                "specversion": "1.0",
                "id": f"{self._process}-{self._number}",
                "source": self._source,
                "type": TYPE,
                "subject": line["model"],
                "time": line["time"],
                "datacontenttype": "application/json",
                "data": line,
            })
        )  # fmt: skip
        self._arrived.set()

    async def run(self) -> None:
        """Send the events, for ever."""
        async with self._client() as client:
            pause = FIRST_RETRY_SECONDS
            while True:
                if not self._pending:
                    self._arrived.clear()
                    await self._arrived.wait()
                    await asyncio.sleep(COLLECT_SECONDS)
                if await self._send_batch(client):
                    pause = FIRST_RETRY_SECONDS
                else:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, MAX_RETRY_SECONDS)

    async def close(self) -> None:
        """Send what is left, within CLOSE_SECONDS; `run` must have ended."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS), self._client() as client:
                while self._pending and await self._send_batch(client):
                    pass
        except TimeoutError:
            pass
        if self._pending:
            self._count("ended", len(self._pending))
            event(logger, "usage_events_lost", level=logging.ERROR, number=len(self._pending))

    def _client(self) -> Any:
        import httpx  # 40 ms, which routers without a sink do not spend

        headers = {"content-type": CONTENT_TYPE}
        if self._sink.token:
            headers["authorization"] = f"Bearer {self._sink.token}"
        return httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS)

    async def _send_batch(self, client: Any) -> bool:
        """Whether the next events are done with; they stay pending otherwise."""
        import httpx

        batch = self._pending[: self._most]
        try:
            content = b"[" + b",".join(batch) + b"]"
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                client.stream("POST", self._sink.address, content=content) as response,
            ):
                # The body is not read: it may have any length.
                status = response.status_code
        except (httpx.HTTPError, TimeoutError) as error:
            self._failed(str(error) or type(error).__name__)
            return False
        if status < 300:
            self._most, self._failing = min(BATCH, 2 * self._most), False
            self._done(batch, "sent")
            return True
        if status == TOO_LARGE and len(batch) > 1:
            self._most = len(batch) // 2
            return True
        if status in INVALID or status == TOO_LARGE:
            event(logger, "usage_events_refused", level=logging.ERROR, status=status,
                  number=len(batch))  # fmt: skip
            self._done(batch, "refused")
            return True
        self._failed(f"the sink responded with {status}")
        return False

    def _done(self, batch: list[bytes], result: str) -> None:
        del self._pending[: len(batch)]
        self._count(result, len(batch))

    def _failed(self, reason: str) -> None:
        if not self._failing:
            event(logger, "usage_sink_failed", level=logging.ERROR, error=reason)
        self._failing = True

    def _count(self, result: str, number: int) -> None:
        self._metrics.usage_events.labels(result).inc(number)
