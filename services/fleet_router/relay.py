"""Streams a model server's answer to the client, with backpressure, byte for byte.

An answer that breaks off must look broken: the client's chunked body never gets its end, and an
event stream gets an error event first.
"""

from __future__ import annotations

import logging

import orjson
from starlette.types import Send

from fleet_contract.errors import FleetError, Timeout, UpstreamFailed
from fleet_router.attempt import Answer
from fleet_router.connection import UpstreamLost, UpstreamSilent
from fleet_router.exchange import Exchange
from fleet_router.headers import response_headers
from fleet_router.metrics import RouterMetrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)


async def relay(answer: Answer, send: Send, exchange: Exchange, metrics: RouterMetrics) -> None:
    """Send `answer` on. Raises ClientGone; a broken answer is left without an end."""
    connection = answer.connection
    await send(
        {
            "type": "http.response.start",
            "status": answer.head.status,
            "headers": response_headers(answer.head),
        }
    )
    tail = b""
    try:
        while piece := await connection.read(answer.silence):
            tail = piece[-2:]
            more = not connection.at_end
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            if not more:
                return
    except (UpstreamLost, UpstreamSilent, FleetError) as error:
        told = _told(exchange.model, error)
        if not isinstance(error, FleetError):
            kind = "silent" if isinstance(error, UpstreamSilent) else "truncated"
            metrics.upstream_errors.labels(exchange.model, kind).inc()
        exchange.status = told.status
        event(logger, "answer_cut_off", level=logging.WARNING, model=exchange.model,
              endpoint=exchange.endpoint, error=str(error))  # fmt: skip
        if is_open_event_stream(answer):
            body = error_event(told, tail)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def is_open_event_stream(answer: Answer) -> bool:
    """Whether another event may be appended: server-sent events of no declared length."""
    kind = answer.head.get(b"content-type") or b""
    return kind.startswith(b"text/event-stream") and answer.head.get(b"content-length") is None


def error_event(error: FleetError, tail: bytes) -> bytes:
    """The error as an event of its own, after a stream whose last bytes are `tail`."""
    separator = b"" if not tail or tail.endswith(b"\n\n") else b"\n\n"
    return separator + b"data: " + orjson.dumps(error.body()) + b"\n\n"


def _told(model: str, error: Exception) -> FleetError:
    if isinstance(error, FleetError):
        return error
    if isinstance(error, UpstreamSilent):
        return Timeout(f"The server of {model!r} stopped sending.")
    return UpstreamFailed(f"The server of {model!r} broke off in the middle of its answer.")
