"""Streams a model server's response to the client, byte for byte and with backpressure.

A response that breaks off must be recognizable: the client's chunked body never gets its end, and
an event stream gets an error event first.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from fleet_contract.error_shapes import error_body
from fleet_contract.errors import FleetError, Timeout, UpstreamFailed
from fleet_router.callers.meter import Meter
from fleet_router.callers.request_record import RequestRecord
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.attempt import UpstreamResponse
from fleet_router.proxy.response_writer import ResponseWriter, error_event
from fleet_router.upstream.connection import UpstreamLost, UpstreamSilent
from fleet_router.upstream.headers import EVENT_STREAM, response_headers
from fleet_web.logs import event

logger = logging.getLogger(__name__)

ERROR_BYTES = 64 * 1024


async def relay(
    response: UpstreamResponse,
    writer: ResponseWriter,
    record: RequestRecord,
    metrics: RouterMetrics,
) -> None:
    """Send `response` on. Raises ClientDisconnect; a broken response is left without an end."""
    connection = response.connection
    record.read_head(response.head)
    meter = Meter(record, response.head)
    try:
        await _relay(response, writer, record, metrics, meter)
    finally:
        # Also when the client disconnects: what was generated until then is charged.
        meter.close(complete=connection.at_end)


async def _relay(
    response: UpstreamResponse,
    writer: ResponseWriter,
    record: RequestRecord,
    metrics: RouterMetrics,
    meter: Meter,
) -> None:
    connection = response.connection
    if writer.opened and not is_open_event_stream(response):
        # The client's status is 200 since the first heartbeat.
        status = response.head.status
        record.status = status if status >= 400 else UpstreamFailed.status
        await writer.end(await _error_of(response, record.path))
        return
    await writer.start(response.head.status, response_headers(response.head))
    try:
        while chunk := await connection.read(response.read_timeout):
            record.count_chunk()
            meter.add(chunk)
            # Known with the last chunk already: a message without a body would cost a write.
            more = not connection.at_end
            await writer.send(chunk, more=more)
            if not more:
                return
    except (UpstreamLost, UpstreamSilent, FleetError) as error:
        reported = _as_fleet_error(record.model, error)
        if not isinstance(error, FleetError):
            kind = "silent" if isinstance(error, UpstreamSilent) else "truncated"
            metrics.upstream_errors.labels(record.model, kind).inc()
        record.status = reported.status
        event(logger, "answer_cut_off", level=logging.WARNING, model=record.model,
              endpoint=record.endpoint, error=str(error))  # fmt: skip
        if is_open_event_stream(response):
            body = error_body(reported, record.path)
            await writer.send(error_event(body, meter.tail.end), more=True)
        return
    await writer.send(b"", more=False)


async def _error_of(response: UpstreamResponse, path: str) -> Any:
    """The error body of a response whose status the client can no longer get."""
    data = b""
    while len(data) < ERROR_BYTES and (
        chunk := await response.connection.read(response.read_timeout)
    ):
        data += chunk
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and "error" in body:
        return body
    failed = UpstreamFailed(f"The model's server responded with {response.head.status}.")
    return error_body(failed, path)


def is_open_event_stream(response: UpstreamResponse) -> bool:
    """Whether another event may be appended: server-sent events without a declared length."""
    kind = response.head.get(b"content-type") or b""
    return kind.startswith(EVENT_STREAM) and response.head.get(b"content-length") is None


def _as_fleet_error(model: str, error: Exception) -> FleetError:
    if isinstance(error, FleetError):
        return error
    if isinstance(error, UpstreamSilent):
        return Timeout(f"The server of {model!r} stopped sending.")
    return UpstreamFailed(f"The server of {model!r} closed the connection during its response.")
