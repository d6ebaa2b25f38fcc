"""Uploads that wait for a server of their model: they are read meanwhile, so that a disconnect is
noticed at once, even in the middle of an upload."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest

from fleet_contract.errors import RequestTimeout
from fleet_router.request.body import StreamedBody
from fleet_router.request.spool import MEMORY_BYTES, DiskFull, Spool
from fleet_web.request_body.byte_budget import ByteBudget


class Sending:
    """A client whose chunks the test sends."""

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


def spool_of(disk: ByteBudget, memory: ByteBudget | None = None) -> Spool:
    return Spool((memory or ByteBudget(2**30)).reserve("a"), disk.reserve("a"))


def body_of(client: Sending, room: int) -> StreamedBody:
    return StreamedBody(spool_of(ByteBudget(room)), client.rest(), None)


async def reading_on(body: StreamedBody, turns: int = 20) -> bool:
    """Read for some iterations of the event loop, then cancel; whether the body ended."""
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


async def test_a_complete_upload_can_be_sent_again() -> None:
    client = Sending()
    body = body_of(client, 100)
    client.send(b"all ", b"of it", None)
    assert await reading_on(body)
    assert body.complete
    for _ in range(2):
        assert await all_of(body) == b"all of it"
        assert body.replayable
    await body.close()


async def test_disk_space_is_bounded_for_all_uploads_and_released() -> None:
    disk, client = ByteBudget(10), Sending()
    body = StreamedBody(spool_of(disk), client.rest(), None)
    client.send(b"eight by", b"tes more", None)
    assert not await reading_on(body)
    assert disk.left == 2
    assert await all_of(body) == b"eight bytes more"
    assert disk.left == 10
    await body.close()
    assert disk.left == 10


async def test_errors_are_raised_and_never_treated_as_the_end() -> None:
    client = Sending()
    body = body_of(client, 100)
    client.send(b"some", RequestTimeout("Stalled."))
    with pytest.raises(RequestTimeout):
        await reading_on(body)
    with pytest.raises(RequestTimeout):
        await all_of(body)
    await body.close()


async def test_a_spool_keeps_what_an_interrupted_task_gave_it() -> None:
    memory = ByteBudget(2**30)
    spool = spool_of(ByteBudget(2**30), memory)
    pieces = [bytes([number]) * (MEMORY_BYTES // 2 + 1) for number in range(8)]
    for piece in pieces:
        task = asyncio.create_task(spool.add(piece))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    assert b"".join([piece async for piece in spool.chunks()]) == b"".join(pieces)
    await spool.close()
    assert memory.left == 2**30


async def test_memory_bounds_what_is_not_on_the_disk() -> None:
    memory = ByteBudget(100)
    spools = [spool_of(ByteBudget(2**30), memory) for _ in range(9)]
    for spool in spools:
        for _ in range(3):
            await spool.add(b"x" * 40)
            assert memory.left >= 0
    for spool in spools:
        assert b"".join([piece async for piece in spool.chunks()]) == b"x" * 120
        await spool.close()
    assert memory.left == 100


async def test_a_full_disk_is_a_507(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def writelines(self, pieces: list[bytes]) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            return

    monkeypatch.setattr("fleet_router.request.spool.tempfile.TemporaryFile", Full)
    client, disk = Sending(), ByteBudget(2**30)
    body = StreamedBody(spool_of(disk), client.rest(), None)
    client.send(b"x" * (MEMORY_BYTES + 1), None)
    with pytest.raises(DiskFull) as caught:
        async with asyncio.timeout(10):
            await body.read_rest()
    assert caught.value.status == 507
    await body.close()
    assert disk.left == 2**30
