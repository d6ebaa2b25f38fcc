"""Structured logs: one JSON object (or one readable line) per event, request id included.

Every process calls `configure` once; the code logs through `event`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from functools import lru_cache
from typing import Any, Literal

import orjson

from fleet_web.current_request import current
from fleet_web.turn_logs import TurnHandler

Format = Literal["json", "text"]
LEVELS = ("debug", "info", "warning", "error")


def event(logger: logging.Logger, name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log `name` with fields of plain JSON types; never pass what a client may keep secret."""
    if logger.isEnabledFor(level):
        logger.handle(_Event(logger.name, level, name, fields))


_BLANK = vars(logging.makeLogRecord({})) | {"fields": {}}


class _Event(logging.LogRecord):
    """A record of `event`. Filled in without the search for thread, process and place in the code
    that a record begins with: it takes longer than all the rest of a line."""

    def __init__(self, logger: str, level: int, name: str, fields: dict[str, Any]) -> None:
        now = time.time()
        self.__dict__ = _BLANK | {
            "name": logger, "levelno": level, "levelname": logging.getLevelName(level),
            "msg": name, "created": now, "msecs": now % 1 * 1000, "fields": fields,
        }  # fmt: skip


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "component", "event", "request_id"?, ...fields}` on one line."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self.component = component

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "component": self.component,
            "event": record.getMessage(),
        }
        if identifier := current():
            line["request_id"] = identifier
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # half a surrogate pair, an integer of more than 64 bits
            return json.dumps(line, default=str, ensure_ascii=True)


class TextFormatter(logging.Formatter):
    """`12:00:00 info event key=value ...`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        if identifier := current():
            fields["request_id"] = identifier
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        pairs = "".join(f" {key}={value}" for key, value in fields.items())
        text = f"{clock} {record.levelname.lower():7} {record.getMessage()}{pairs}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(
    component: str, level: str = "info", fmt: str = "json", *, by_turn: bool = False
) -> None:
    """Send every log line of this process to standard error, `by_turn` of the event loop where
    there are very many. Raises ValueError on a bad setting."""
    if level.lower() not in LEVELS:
        raise ValueError(f"LOG_LEVEL={level!r}: must be one of {', '.join(LEVELS)}")
    if fmt not in ("json", "text"):
        raise ValueError(f"LOG_FORMAT={fmt!r}: must be json or text")
    handler = TurnHandler(sys.stderr) if by_turn else logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(component) if fmt == "json" else TextFormatter())
    # Nothing here tells where in the code a line was logged; finding out costs more than the rest.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _timestamp(seconds: float) -> str:
    return f"{_whole(int(seconds))}.{int(seconds % 1 * 1000):03d}Z"


@lru_cache(maxsize=4)
def _whole(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
