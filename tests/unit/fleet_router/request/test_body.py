"""Bodies in which another model is named."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from fleet_router.request.body import StreamedBody, WholeBody
from fleet_router.request.multipart import ModelFinder
from fleet_router.request.spool import Spool
from fleet_web.request_body.byte_budget import ByteBudget, Reservation

FORM = b'--q\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'


def reservation() -> Reservation:
    return ByteBudget(10**6).reserve("a")


async def of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def streamed(raw: bytes, cut: int, size: int) -> StreamedBody:
    """The result of `envelope` for a form in chunks of `size` bytes."""
    finder = ModelFinder("multipart/form-data; boundary=q")
    spool = Spool(reservation(), reservation())
    at = 0
    while at < len(raw) and not finder.done:
        piece = raw[at : at + size]
        await spool.add(piece)
        finder.feed(piece)
        at += len(piece)
    return StreamedBody(spool, of(raw[at:]), len(raw), finder.span, finder.boundary)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("name", [b"a", b"acme/longer-than-the-other"])
async def test_the_field_of_a_form_is_exchanged(size: int, name: bytes) -> None:
    def form(model: bytes) -> bytes:
        parts = FORM % (b"file", b"x" * 3000) + FORM % (b"model", model) + FORM % (b"n", b"1")
        return parts + b"--q--\r\n"

    body = await streamed(form(b"acme/one"), 0, size)
    await body.rename("between")
    await body.rename(name.decode())
    assert body.length == len(form(name))
    assert b"".join([piece async for piece in body.chunks()]) == form(name)
    assert not body.replayable
    await body.close()


@pytest.mark.parametrize("size", [1, 10_000])
async def test_a_form_without_the_field_gets_it(size: int) -> None:
    raw = FORM % (b"file", b"x" * 100) + b"--q--\r\n"
    body = await streamed(raw, 0, size)
    await body.rename("acme/one")
    sent = b"".join([piece async for piece in body.chunks()])
    assert sent == FORM % (b"model", b"acme/one") + raw
    assert body.length == len(sent)
    await body.close()


async def test_a_body_whose_model_has_no_place_gets_it_first() -> None:
    body = StreamedBody(Spool(reservation(), reservation()), of(b"--q--"), None, boundary=b"q")
    await body.rename("acme/one")
    await body.spool.add(b"--q ")
    sent = b"".join([piece async for piece in body.chunks()])
    assert (sent, body.length) == (FORM % (b"model", b"acme/one") + b"--q --q--", None)
    await body.close()


async def test_json_keeps_its_meaning() -> None:
    body = WholeBody(b'{"a": [1.5, "\\u00e9"], "model": "x", "b": null}', reservation())
    await body.rename("acme/one")
    sent = b"".join([piece async for piece in body.chunks()])
    assert json.loads(sent) == {"a": [1.5, "é"], "model": "acme/one", "b": None}
    assert body.length == len(sent)


async def test_memory_is_released_once() -> None:
    memory = ByteBudget(10)
    body = WholeBody(b"{}", memory.reserve("a"))
    body.memory.acquire(2)
    await body.close()
    await body.close()
    assert memory.left == 10
