"""Structured logs: one line per event, as JSON or text, with the request id."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson

from fleet_contract.safe_text import printable, redacted
from fleet_web.current_request import current

Format = Literal["json", "text"]
LEVELS = ("debug", "info", "warning", "error")
_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""DEL and the C1 control characters, which terminals interpret too."""
MAX_LINES = 200
"""Lines a BatchingHandler keeps at most."""


def event(logger: logging.Logger, name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log `name` with fields of plain JSON types, without prompts, keys and other client data."""
    if logger.isEnabledFor(level):
        logger.handle(_Event(logger.name, level, name, fields))


_BLANK = vars(logging.makeLogRecord({})) | {"fields": {}}


class _Event(logging.LogRecord):
    """A record of `event`. Does not call LogRecord's constructor, whose lookup of thread, process
    and source line takes longer than all the rest of a log line."""

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
            text = orjson.dumps(line, default=str).decode()
        except TypeError:  # a lone surrogate, an integer of more than 64 bits
            text = json.dumps(line, default=str, ensure_ascii=True)
        if not text.isascii() or "\x7f" in text:
            text = text.translate(_CONTROLS)  # JSON need not escape them
        return redacted(text)


class TextFormatter(logging.Formatter):
    """`12:00:00 info event key=value ...`. Values that could be taken for several are quoted, the
    lines of a traceback indented."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        if identifier := current():
            fields["request_id"] = identifier
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        pairs = "".join(f" {key}={_value(value)}" for key, value in fields.items())
        message = printable(record.getMessage())
        lines = [f"{clock} {record.levelname.lower():7} {message}{pairs}"]
        if record.exc_info:
            trace = self.formatException(record.exc_info).split("\n")
            lines += [f"  {printable(line)}" for line in trace]
        return redacted("\n".join(lines))


def _value(value: Any) -> str:
    text = printable(str(value))
    return json.dumps(text, ensure_ascii=False) if " " in text and "=" in text else text


class BatchingHandler(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of the event loop together.

    A busy router logs several requests in a turn, and a write for each costs more than its line.
    Lines logged outside of an event loop are written at once, after those that were kept.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._scheduled = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's line until the end of this turn; warnings are written at once."""
        try:
            self._lines.append(self.format(record))
            full = record.levelno >= logging.WARNING or len(self._lines) >= MAX_LINES
            if full or not (self._scheduled or self._schedule()):
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write the lines that were kept."""
        self.acquire()
        try:
            lines, self._lines, self._scheduled = self._lines, [], False
            if lines:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()
        finally:
            self.release()

    def _schedule(self) -> bool:
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:  # not in an event loop
            return False
        self._scheduled = True
        return True


def configure(
    component: str, level: str = "info", fmt: str = "json", *, batched: bool = False
) -> None:
    """Log to standard error; `batched` writes the lines of one turn of the event loop together.

    Raises ValueError for an unknown level or format.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"LOG_LEVEL={level!r}: must be one of {', '.join(LEVELS)}")
    if fmt not in ("json", "text"):
        raise ValueError(f"LOG_FORMAT={fmt!r}: must be json or text")
    handler = BatchingHandler(sys.stderr) if batched else logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(component) if fmt == "json" else TextFormatter())
    # No format contains the source line, and looking it up costs more than the rest.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _timestamp(seconds: float) -> str:
    return f"{_date_and_time(int(seconds))}.{int(seconds % 1 * 1000):03d}Z"


@lru_cache(maxsize=4)
def _date_and_time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
