"""Reads as much of a request's body as its model requires.

A JSON body is read whole, within its limit, and forwarded as it is. A multipart body is read up to
its `model` field and streamed from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from fastapi import Request

from fleet_contract.errors import BadRequest
from fleet_contract.spec_parts import Limits
from fleet_router.request.body import THREAD_BYTES, Body, StreamedBody, WholeBody
from fleet_router.request.byte_budget import ByteBudget
from fleet_router.request.cost import RequestCost, of_json, of_upload
from fleet_router.request.multipart import ModelFinder
from fleet_router.request.spool import Spool
from fleet_router.routing.paths import BodyKind, PathRule
from fleet_router.routing.table import RouteTable
from fleet_web.body import chunks, parse_json

FORM_BYTES = 1024 * 1024
"""Bound for the fields of a form besides its recording."""
DEFAULT_LIMITS = Limits()


class Envelope(NamedTuple):
    """The requested model (None if the body names none), the body and its cost."""

    model: str | None
    body: Body
    cost: RequestCost


def body_limit(limits: Limits, kind: BodyKind) -> int:
    """Bytes that a model accepts."""
    if kind is BodyKind.MULTIPART:
        return limits.max_audio_bytes + FORM_BYTES
    return limits.max_body_bytes


def path_limit(table: RouteTable, rule: PathRule) -> int:
    """Bytes to read before the model is known: the largest limit of any model of the path."""
    candidates = [route.spec.limits for route in table.of_task(rule.task)] or [DEFAULT_LIMITS]
    return max(body_limit(limits, rule.kind) for limits in candidates)


class PathLimits:
    """`path_limit` of every path, computed once for each table, since a fleet may be large."""

    def __init__(self) -> None:
        self._table: RouteTable | None = None
        self._limits: dict[str, int] = {}

    def of(self, table: RouteTable, rule: PathRule) -> int:
        """The limit of a path."""
        if table is not self._table:
            self._table, self._limits = table, {}
        limit = self._limits.get(rule.path)
        if limit is None:
            limit = self._limits[rule.path] = path_limit(table, rule)
        return limit


async def open_envelope(
    request: Request,
    rule: PathRule,
    limit: int,
    memory: ByteBudget,
    disk: ByteBudget,
    *,
    prefix: bool,
) -> Envelope:
    """Reads up to `limit` bytes. `memory` bounds JSON bodies, `disk` uploads that wait; with
    `prefix`, the cost includes a hash of the leading texts.

    Raises BadRequest, TooLarge, RequestTimeout, QueueFull, ClientDisconnect.
    """
    if rule.kind is BodyKind.MULTIPART:
        return await _open_multipart(request, limit, disk)
    return await _open_json(request, limit, memory, prefix)


async def _open_json(request: Request, limit: int, memory: ByteBudget, prefix: bool) -> Envelope:
    size = 0
    received: list[bytes] = []
    try:
        async for chunk in chunks(request, limit):
            memory.acquire(len(chunk))
            size += len(chunk)
            received.append(chunk)
        data = received[0] if len(received) == 1 else b"".join(received)
        received.clear()  # not twice in memory while it is parsed
        if len(data) > THREAD_BYTES:
            model, cost = await asyncio.to_thread(inspect_json, data, prefix)
        else:
            model, cost = inspect_json(data, prefix)
    except BaseException:
        memory.release(size)
        raise
    return Envelope(model, WholeBody(data, lambda: memory.release(size)), cost)


def inspect_json(data: bytes, prefix: bool) -> tuple[str | None, RequestCost]:
    """The field `model` of a JSON object, and the cost. Raises BadRequest."""
    body = parse_json(data)
    model = body.get("model")
    return (None if model is None else _checked(model)), of_json(body, len(data), prefix)


def _checked(model: object) -> str:
    if not isinstance(model, str) or not model:
        raise BadRequest(
            "Invalid value for 'model': a non-empty string is expected.",
            param="model",
            code="invalid_value",
        )
    return model


async def _open_multipart(request: Request, limit: int, disk: ByteBudget) -> Envelope:
    finder = ModelFinder(request.headers.get("content-type", ""))
    declared = request.headers.get("content-length")
    length = int(declared) if declared is not None and declared.isdigit() else None
    rest = chunks(request, limit)
    spool = Spool()
    try:
        model = await _find_model(finder, rest, spool)
    except BaseException:
        await spool.close()
        raise
    body = StreamedBody(spool, rest, length, disk, finder.span, finder.boundary)
    return Envelope(model, body, of_upload(length))


async def _find_model(finder: ModelFinder, rest: AsyncIterator[bytes], spool: Spool) -> str | None:
    async for chunk in rest:
        await spool.add(chunk)
        finder.feed(chunk)
        if finder.done:
            return _checked(finder.model)
    finder.finish()
    return None
