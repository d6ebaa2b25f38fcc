"""Usage by key and model: Prometheus counters and, optionally, a log with a line per request.

A line of the log:

    {"time", "request_id", "key", "model", "path", "status", "prompt_tokens", "cached_tokens",
     "completion_tokens", "audio_seconds", "images", "ms", "estimated"?, "fallback_for"?}
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import orjson

from fleet_router.callers.request_record import RequestRecord
from fleet_router.metrics import RouterMetrics
from fleet_web import request_id
from fleet_web.logs import event

logger = logging.getLogger(__name__)


class UsageLog:
    """`path` is the log's file, if any. Raises OSError when it cannot be opened."""

    def __init__(self, metrics: RouterMetrics, path: Path | None = None) -> None:
        self._metrics = metrics
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path, flags, 0o640) if path else None
        self._failing = False

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
        if self._file is not None:
            self._write(record, status, seconds)

    def close(self) -> None:
        """Close the log; idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _write(self, record: RequestRecord, status: int, seconds: float) -> None:
        usage = record.usage
        line = {
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
        if record.estimated:
            line["estimated"] = True
        if record.fallback_for:
            line["fallback_for"] = record.fallback_for
        try:
            # One write per line: routers that share a file do not mix their lines.
            os.write(self._file or -1, orjson.dumps(line) + b"\n")
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                event(logger, "usage_log_failed", level=logging.ERROR, error=str(error))
