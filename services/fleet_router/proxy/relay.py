"""Streams a model server's answer to the client, with backpressure, byte for byte.

An answer that breaks off must look broken: the client's chunked body never gets its end, and an
event stream gets an error event first.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from fleet_contract.errors import FleetError, Timeout, UpstreamFailed
from fleet_router.callers.request_record import RequestRecord
from fleet_router.callers.usage import Tail
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.attempt import Answer
from fleet_router.proxy.response_writer import ResponseWriter, error_event
from fleet_router.upstream.connection import UpstreamLost, UpstreamSilent
from fleet_router.upstream.headers import EVENT_STREAM, response_headers
from fleet_web.logs import event

logger = logging.getLogger(__name__)

ERROR_BYTES = 64 * 1024


async def relay(
    answer: Answer, writer: ResponseWriter, record: RequestRecord, metrics: RouterMetrics
) -> None:
    """Send `answer` on. Raises ClientDisconnect; a broken answer is left without an end."""
    connection = answer.connection
    record.served(answer.head)
    if writer.opened and not is_open_event_stream(answer):
        await writer.end(await told_by(answer))
        return
    await writer.start(answer.head.status, response_headers(answer.head))
    tail = Tail()
    try:
        while piece := await connection.read(answer.silence):
            record.came()
            tail.add(piece)
            more = not connection.at_end
            await writer.send(piece, more=more)
            if not more:
                record.used(tail)
                return
    except (UpstreamLost, UpstreamSilent, FleetError) as error:
        told = _told(record.model, error)
        if not isinstance(error, FleetError):
            kind = "silent" if isinstance(error, UpstreamSilent) else "truncated"
            metrics.upstream_errors.labels(record.model, kind).inc()
        record.status = told.status
        record.used(tail)
        event(logger, "answer_cut_off", level=logging.WARNING, model=record.model,
              endpoint=record.endpoint, error=str(error))  # fmt: skip
        if is_open_event_stream(answer):
            await writer.send(error_event(told.body(), tail.end), more=True)
        return
    record.used(tail)
    await writer.send(b"", more=False)


async def told_by(answer: Answer) -> Any:
    """The error in an answer that came too late to be a status of its own, as its body says it."""
    data = b""
    while len(data) < ERROR_BYTES and (piece := await answer.connection.read(answer.silence)):
        data += piece
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and "error" in body:
        return body
    return UpstreamFailed(f"The model's server answered {answer.head.status}.").body()


def is_open_event_stream(answer: Answer) -> bool:
    """Whether another event may be appended: server-sent events of no declared length."""
    kind = answer.head.get(b"content-type") or b""
    return kind.startswith(EVENT_STREAM) and answer.head.get(b"content-length") is None


def _told(model: str, error: Exception) -> FleetError:
    if isinstance(error, FleetError):
        return error
    if isinstance(error, UpstreamSilent):
        return Timeout(f"The server of {model!r} stopped sending.")
    return UpstreamFailed(f"The server of {model!r} broke off in the middle of its answer.")
