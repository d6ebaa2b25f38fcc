"""Reads as much of a request's body as its model requires.

A JSON body is read whole, within its limit, and forwarded as it is. A multipart body is read up to
its `model` field and streamed from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from fastapi import Request

from fleet_contract.spec import ModelSpec
from fleet_router.request.body import Body, StreamedBody, WholeBody
from fleet_router.request.cost import RequestCost, of_json, of_upload
from fleet_router.request.fields import (
    has_escaped_letters,
    invalid_model,
    may_have_images,
    model_of,
    read_fields,
)
from fleet_router.request.multipart import ModelFinder
from fleet_router.request.recordings import may_have_recordings
from fleet_router.request.spool import Spool
from fleet_router.routing.paths import BodyKind, PathRule
from fleet_router.routing.table import RouteTable
from fleet_web.body import THREAD_BYTES, appended, chunks
from fleet_web.request_body.byte_budget import ByteBudget, Reservation
from fleet_web.request_body.json_body import Data

FORM_BYTES = 1024 * 1024
"""Bound for the fields of a form besides its recording."""
DEFAULT_SPEC = ModelSpec(model="none")


class Envelope(NamedTuple):
    """The requested model (None if the body names none), the body and its cost."""

    model: str | None
    body: Body
    cost: RequestCost


def body_limit(spec: ModelSpec, kind: BodyKind) -> int:
    """Bytes that a model accepts."""
    if kind is BodyKind.MULTIPART:
        return spec.limits.max_audio_bytes + FORM_BYTES
    return spec.max_body_bytes


def path_limit(table: RouteTable, rule: PathRule) -> int:
    """Bytes to read before the model is known: the largest limit of any model of the path."""
    limits = table.body_limits(rule.task)
    if not limits:
        return body_limit(DEFAULT_SPEC, rule.kind)
    if rule.kind is BodyKind.MULTIPART:
        return max(each.audio for each in limits) + FORM_BYTES
    return max(each.body for each in limits)


class Budgets(NamedTuple):
    """The bounds that all bodies share."""

    memory: ByteBudget
    disk: ByteBudget
    """For uploads whose beginning is kept."""


async def open_envelope(
    request: Request, rule: PathRule, limit: int, budgets: Budgets, caller: str, *, prefix: bool
) -> Envelope:
    """Reads up to `limit` bytes, which count as those of `caller`; with `prefix`, the cost includes
    a hash of the leading texts.

    Raises BadRequest, TooLarge, RequestTimeout, QueueFull, UnsupportedEncoding, DiskFull,
    ClientDisconnect.
    """
    if rule.kind is BodyKind.MULTIPART:
        return await _open_multipart(request, limit, budgets, caller)
    envelope = await _open_json(request, limit, budgets.memory.reserve(caller), prefix)
    if rule.may_stream:
        return envelope
    return envelope._replace(cost=envelope.cost._replace(streams=False))


async def _open_json(request: Request, limit: int, memory: Reservation, prefix: bool) -> Envelope:
    data: Data = b""
    try:
        async for chunk in chunks(request, limit):
            memory.acquire(len(chunk))
            data = appended(data, chunk)
        if len(data) > THREAD_BYTES:
            model, cost = await asyncio.to_thread(inspect_json, data, prefix)
        else:
            model, cost = inspect_json(data, prefix)
    except BaseException:
        memory.release()
        raise
    return Envelope(model, WholeBody(data, memory), cost)


def inspect_json(data: Data, prefix: bool) -> tuple[str | None, RequestCost]:
    """The field `model` of a JSON object, and the cost. Raises BadRequest."""
    escaped = has_escaped_letters(data)
    fields = read_fields(data, escaped)
    images = escaped or may_have_images(data)
    cost = of_json(fields, len(data), prefix, images)
    return model_of(fields), cost._replace(recordings=may_have_recordings(data))


def _checked(model: str | None) -> str:
    if not model:
        raise invalid_model()
    return model


async def _open_multipart(request: Request, limit: int, budgets: Budgets, caller: str) -> Envelope:
    finder = ModelFinder(request.headers.get("content-type", ""))
    rest = chunks(request, limit)
    length = _declared_length(request)
    spool = Spool(budgets.memory.reserve(caller), budgets.disk.reserve(caller))
    try:
        model = await _find_model(finder, rest, spool)
    except BaseException:
        await spool.close()
        raise
    body = StreamedBody(spool, finder.checked(rest), length, finder.span, finder.boundary)
    return Envelope(model, body, of_upload(length))


def _declared_length(request: Request) -> int | None:
    """None if it is unknown, as that of an encoded body."""
    headers = request.headers
    declared = headers.get("content-length", "")
    if not declared.isdigit() or headers.get("content-encoding", "identity") != "identity":
        return None
    return int(declared)


async def _find_model(finder: ModelFinder, rest: AsyncIterator[bytes], spool: Spool) -> str | None:
    async for chunk in rest:
        spool.count(len(chunk))
        await spool.add(chunk)
        finder.feed(chunk)
        if finder.done:
            return _checked(finder.model)
    finder.finish()
    return None
