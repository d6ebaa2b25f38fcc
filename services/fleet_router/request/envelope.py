"""Reads of a request's body no more than it takes to know its model. Called by `proxy`.

A JSON body is read whole, within its limit, and only looked into: the bytes forwarded are the
client's own. A multipart body is read up to its `model` field and streamed from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import orjson
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
from fleet_web.body import chunks

FORM_BYTES = 1024 * 1024
"""What a form may hold beside its recording."""
DEFAULT_LIMITS = Limits()


class Envelope(NamedTuple):
    """The model a request asks for, None when it names none, its body, and what `cost` saw."""

    model: str | None
    body: Body
    cost: RequestCost


def body_limit(limits: Limits, kind: BodyKind) -> int:
    """Bytes of a request body that a model takes."""
    if kind is BodyKind.MULTIPART:
        return limits.max_audio_bytes + FORM_BYTES
    return limits.max_body_bytes


def path_limit(table: RouteTable, rule: PathRule) -> int:
    """Bytes of a body while its model is not known yet: what the most generous model takes."""
    candidates = [route.spec.limits for route in table.of_task(rule.task)] or [DEFAULT_LIMITS]
    return max(body_limit(limits, rule.kind) for limits in candidates)


class PathLimits:
    """`path_limit` of every path, worked out once for each table: a fleet may be large."""

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
    """`memory` bounds the bodies of JSON, `disk` uploads that wait; `prefix` asks for a cost at how
    the body begins too.

    Raises BadRequest, TooLarge, RequestTimeout, QueueFull, ClientDisconnect.
    """
    if rule.kind is BodyKind.MULTIPART:
        return await _open_multipart(request, limit, disk)
    return await _open_json(request, limit, memory, prefix)


async def _open_json(request: Request, limit: int, memory: ByteBudget, prefix: bool) -> Envelope:
    held = 0
    pieces: list[bytes] = []
    try:
        async for piece in chunks(request, limit):
            memory.take(len(piece))
            held += len(piece)
            pieces.append(piece)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if len(data) > THREAD_BYTES:
            model, cost = await asyncio.to_thread(read_json, data, prefix)
        else:
            model, cost = read_json(data, prefix)
    except BaseException:
        memory.give(held)
        raise
    return Envelope(model, WholeBody(data, lambda: memory.give(held)), cost)


def read_json(data: bytes, prefix: bool) -> tuple[str | None, RequestCost]:
    """The field `model` of a JSON object, and a cost at the rest. Raises BadRequest."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if not data.strip():
            raise BadRequest(
                "The body is empty; a JSON object is expected.", code="invalid_json"
            ) from None
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
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
    async for piece in rest:
        await spool.add(piece)
        finder.feed(piece)
        if finder.done:
            return _checked(finder.model)
    finder.finish()
    return None
