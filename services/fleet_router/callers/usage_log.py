"""Usage by key and model: Prometheus counters and, optionally, a log with a line per request and
events for a sink.

A line of the log:

    {"time", "request_id", "key", "model", "path", "status", "prompt_tokens", "cached_tokens",
     "completion_tokens", "audio_seconds", "images", "ms", "cost"?, "currency"?, "estimated"?,
     "fallback_for"?}
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import orjson

from fleet_router.callers.line_file import LineFile
from fleet_router.callers.request_record import RequestRecord
from fleet_router.callers.usage_sink import UsageSink
from fleet_router.metrics import RouterMetrics
from fleet_web import request_id
from fleet_web.logs import event

logger = logging.getLogger(__name__)

COLLECT_SECONDS = 0.02
"""Lines within this time are written together."""
RETRY_SECONDS = 1.0
BATCH = 1000
"""Lines in one write."""
MAX_PENDING = 100_000
"""Lines that are kept while the file cannot be written, about 30 MB; further ones are dropped."""


class UsageLog:
    """`path` is the log's file, if any, which is rotated at `max_bytes`; `sink` gets the same
    lines. Raises OSError when the file cannot be opened."""

    def __init__(
        self,
        metrics: RouterMetrics,
        path: Path | None = None,
        max_bytes: int = 0,
        sink: UsageSink | None = None,
    ) -> None:
        self._metrics = metrics
        self._sink = sink
        self._file = LineFile(path, max_bytes) if path else None
        self._pending: list[bytes] = []
        self._arrived = asyncio.Event()
        self._failing = False

    @property
    def enabled(self) -> bool:
        """Whether there is a log file, for which `run` must run."""
        return self._file is not None

    def report(self, record: RequestRecord, status: int, seconds: float) -> None:
        """Count one request of a known model."""
        metrics, usage = self._metrics, record.usage
        model, key = record.model, record.key
        for kind, number in (
            ("prompt", usage.prompt_tokens),
            ("cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            if number:
                metrics.tokens.of(model, key, kind).inc(number)
        if usage.audio_seconds:
            metrics.audio_seconds.of(model, key).inc(usage.audio_seconds)
        if record.images:
            metrics.images.of(model, key).inc(record.images)
        if record.price is not None and (cost := record.cost):
            metrics.cost.of(model, key, record.price.currency).inc(cost)
        if self._file is None and self._sink is None:
            return
        line = usage_line(record, status, seconds)
        if self._sink is not None:
            self._sink.add(line)
        if self._file is not None:
            if len(self._pending) < MAX_PENDING:
                self._pending.append(orjson.dumps(line) + b"\n")
                self._arrived.set()
            else:
                metrics.usage_lines_dropped.inc()

    async def run(self) -> None:
        """Write the lines, for ever."""
        while True:
            if not self._pending:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(COLLECT_SECONDS)
            if not await self._write_batch():
                await asyncio.sleep(RETRY_SECONDS)

    def reopen(self) -> None:
        """Open the file again before the next line."""
        if self._file is not None:
            self._file.stale = True

    def close(self) -> None:
        """Write what is left and close the file; idempotent."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.append(self._pending)
            except OSError as error:
                event(logger, "usage_log_failed", level=logging.ERROR, error=str(error),
                      lost=len(self._pending))  # fmt: skip
            file.close()

    async def _write_batch(self) -> bool:
        """Whether the next lines were written; they stay pending otherwise."""
        if self._file is None:
            return False
        lines = self._pending[:BATCH]
        # Not cancelled with this task, because the thread is not: whether the lines were written
        # must be known.
        writing = asyncio.ensure_future(asyncio.to_thread(self._file.append, lines))
        try:
            await asyncio.wait((writing,))
        except asyncio.CancelledError:
            await asyncio.wait((writing,))
            raise
        finally:
            error = writing.exception()
            if error is None:
                del self._pending[: len(lines)]
        if error is not None and not self._failing:
            event(logger, "usage_log_failed", level=logging.ERROR, error=str(error))
        self._failing = error is not None
        return error is None


def usage_line(record: RequestRecord, status: int, seconds: float) -> dict[str, Any]:
    """The fields of a line."""
    usage = record.usage
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request_id": request_id.current(),
        "key": record.key,
        "model": record.model,
        "path": record.path,
        "status": status,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "audio_seconds": usage.audio_seconds,
        "images": record.images,
        "ms": round(seconds * 1000, 1),
    }
    if record.price is not None:
        line["cost"] = round(record.cost, 9)
        line["currency"] = record.price.currency
    if record.estimated:
        line["estimated"] = True
    if record.fallback_for:
        line["fallback_for"] = record.fallback_for
    return line
