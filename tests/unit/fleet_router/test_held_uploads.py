"""Uploads that wait for a server of their model: read on meanwhile, so that a client that leaves is
noticed at once, whatever of its upload was still under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fleet_contract.errors import RequestTimeout
from fleet_router.request.body import StreamedBody
from fleet_router.request.byte_budget import ByteBudget
from fleet_router.request.spool import MEMORY_BYTES, Spool


class Sending:
    """A client whose pieces come when the test says so."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def send(self, *pieces: bytes | Exception | None) -> None:
        for piece in pieces:
            self._pieces.put_nowait(piece)

    async def rest(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def body_of(client: Sending, room: int) -> StreamedBody:
    return StreamedBody(Spool(), client.rest(), None, ByteBudget(room))


async def reading_on(body: StreamedBody, turns: int = 20) -> bool:
    """Read on for some turns of the event loop, then be interrupted; whether it came to an end."""
    task = asyncio.create_task(body.read_rest())
    for _ in range(turns):
        await asyncio.sleep(0)
    if task.done():
        await task
        return True
    task.cancel()
    await asyncio.wait((task,))
    return False


async def all_of(body: StreamedBody) -> bytes:
    return b"".join([piece async for piece in body.chunks()])


async def test_nothing_is_lost_however_often_the_reading_is_interrupted() -> None:
    client = Sending()
    body = body_of(client, 100)
    assert not await reading_on(body)
    client.send(b"one ")
    assert not await reading_on(body)
    assert not await reading_on(body)
    client.send(b"two ", b"three")
    assert not await reading_on(body)
    assert body.replayable
    client.send(b" four", None)
    assert await all_of(body) == b"one two three four"
    assert not body.replayable
    await body.close()


async def test_one_that_came_whole_can_be_sent_again() -> None:
    client = Sending()
    body = body_of(client, 100)
    client.send(b"all ", b"of it", None)
    assert await reading_on(body)
    assert body.complete
    for _ in range(2):
        assert await all_of(body) == b"all of it"
        assert body.replayable
    await body.close()


async def test_the_disk_has_a_bound_for_all_together_and_gets_its_room_back() -> None:
    disk, client = ByteBudget(10), Sending()
    body = StreamedBody(Spool(), client.rest(), None, disk)
    client.send(b"eight by", b"tes more", None)
    assert not await reading_on(body)
    assert not disk.try_acquire(3)
    assert await all_of(body) == b"eight bytes more"
    assert disk.try_acquire(10)
    disk.release(10)
    other = body_of(Sending(), 1)
    await other.close()


async def test_what_goes_wrong_is_raised_and_never_taken_for_the_end() -> None:
    client = Sending()
    body = body_of(client, 100)
    client.send(b"some", RequestTimeout("Stalled."))
    with pytest.raises(RequestTimeout):
        await reading_on(body)
    with pytest.raises(RequestTimeout):
        await all_of(body)
    await body.close()


async def test_a_spool_keeps_what_an_interrupted_task_gave_it() -> None:
    spool = Spool()
    pieces = [bytes([number]) * (MEMORY_BYTES // 2 + 1) for number in range(8)]
    for piece in pieces:
        task = asyncio.create_task(spool.add(piece))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    assert b"".join([piece async for piece in spool.chunks()]) == b"".join(pieces)
    await spool.close()
