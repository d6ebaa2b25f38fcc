"""The HTTP/1.1 client against a real asyncio server: backpressure, timeouts and errors."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref

import pytest

from fleet_router.upstream.connection import (
    BUFFER_BYTES,
    COPIED_BYTES,
    MAX_HEAD_BYTES,
    PEER_TIMEOUT,
    ConnectFailed,
    UpstreamLost,
    UpstreamSilent,
    connect,
)
from fleet_router.upstream.pool import Pool
from support.bare_server import ASK, OK, respond_to_all, serving


async def test_an_unread_response_applies_backpressure_to_the_server() -> None:
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(100):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            written += 1_000_000

    async with serving(flood) as endpoint:
        connection = await connect(endpoint, 5)
        await connection.write(ASK)
        await connection.read_head(5)
        before = -1
        while written != before:  # until the server makes no progress any more
            before = written
            for _ in range(200):
                await asyncio.sleep(0.001)
        assert written < 20_000_000
        first = await connection.read(5)
        assert len(first) < 4 * BUFFER_BYTES
        got = len(first)
        while piece := await connection.read(5):
            got += len(piece)
        assert got == 100_000_000
        connection.close()


async def test_a_read_timeout_is_raised_and_closes_the_connection() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as endpoint:
        connection = await connect(endpoint, 5)
        await connection.write(ASK)
        with pytest.raises(UpstreamSilent):
            await connection.read_head(0.05)
        assert connection.closed
        assert not connection.reusable


async def test_the_read_timeout_applies_to_each_chunk() -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")
        for _ in range(11):
            await go_on.wait()
            go_on.clear()
            writer.write(b"x")
        await reader.read()

    async with serving(slow) as endpoint:
        connection = await connect(endpoint, 5)
        connection.send(ASK, b"")
        await connection.read_head(60)
        asyncio.get_running_loop().call_later(0.1, go_on.set)
        assert await connection.read(2.0) == b"x"  # the timer of 60 s is replaced
        for _ in range(10):  # together longer than the timer that was set first
            asyncio.get_running_loop().call_later(0.25, go_on.set)
            assert await connection.read(2.0) == b"x"
        with pytest.raises(UpstreamSilent):
            await connection.read(0.05)
        assert connection.closed


async def test_a_response_before_the_body_was_read_arrives_and_its_connection_is_not_reused() -> (
    None
):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(30)

    async with serving(refuse) as endpoint:
        pool = Pool(endpoint)
        connection, _ = await pool.acquire()
        connection.send(ASK, b"x" * 50_000_000)
        assert (await connection.read_head(5)).status == 200
        assert await connection.read(5) == b"{}"
        pool.release(connection)
        assert connection.closed


async def test_a_broken_body_raises_after_the_bytes_that_arrived() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")

    async with serving(half) as endpoint:
        connection = await connect(endpoint, 5)
        await connection.write(ASK)
        await connection.read_head(5)
        assert await connection.read(5) == b"abc"
        with pytest.raises(UpstreamLost):
            await connection.read(5)


async def test_a_connection_with_an_early_response_is_not_reused() -> None:
    async with serving(respond_to_all) as endpoint:
        pool = Pool(endpoint)
        connection, _ = await pool.acquire()
        await connection.write(ASK)  # but more of the body was to come
        await connection.read_head(5)
        await connection.read(5)
        pool.release(connection)
        assert connection.closed


@pytest.mark.parametrize("size", [3, COPIED_BYTES])
async def test_a_whole_request_is_sent_and_counted(size: int) -> None:
    head, body = b"POST / HTTP/1.1\r\n\r\n", b"x" * size
    seen = b""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await reader.readexactly(len(head) + size)
        writer.write(OK)

    async with serving(count) as endpoint:
        connection = await connect(endpoint, 5)
        connection.send(head, body)
        assert (connection.sent_bytes, connection.request_sent) == (len(head) + size, True)
        assert not connection.at_end
        await connection.read_head(5)
        assert seen == head + body
        async with asyncio.timeout(5):
            while not connection.complete:  # noqa: ASYNC110 (no event to wait for)
                await asyncio.sleep(0)
        assert not connection.at_end  # the body was not read yet
        assert await connection.read(5) == b"{}"
        assert connection.at_end
        connection.start_exchange()
        assert (connection.sent_bytes, connection.request_sent) == (0, False)
        connection.close()


async def test_writing_waits_while_the_server_does_not_read() -> None:
    size = 20_000_000  # more than the buffers of both sockets
    read_on, respond, received = asyncio.Event(), asyncio.Event(), 0

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await read_on.wait()
        while received < size:
            received += len(await reader.read(1_000_000))
        await respond.wait()
        writer.write(OK)

    async with serving(late) as endpoint, asyncio.timeout(30):
        connection = await connect(endpoint, 5)
        writing = asyncio.create_task(connection.write(b"x" * size))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not writing.done()
        read_on.set()
        await writing
        respond.set()
        await connection.read_head(5)
        assert received == size
        connection.close()


async def test_bytes_sent_in_parts_are_added_up() -> None:
    async with serving(respond_to_all) as endpoint:
        connection = await connect(endpoint, 5)
        await connection.write(ASK[:9])
        await connection.write(ASK[9:])
        assert connection.sent_bytes == len(ASK)
        connection.close()
        await connection.write(b"more")  # no error, and not sent
        assert connection.sent_bytes == len(ASK)


async def test_a_refused_connection_is_connect_failed() -> None:
    async with serving(respond_to_all) as endpoint:
        pass
    with pytest.raises(ConnectFailed):
        await connect(endpoint, 5)


async def test_a_closed_connection_has_no_reference_cycle() -> None:
    async with serving(respond_to_all) as endpoint:
        gc.disable()
        try:
            connection = await connect(endpoint, 5)
            connection.send(ASK, b"")
            await connection.read_head(5)
            left = weakref.ref(connection)
            connection.close()
            await asyncio.sleep(0.01)
            del connection
            assert left() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("whole", [True, False])
async def test_the_head_of_a_response_is_bounded(more: int, whole: bool) -> None:
    async with serving(respond_to_all) as endpoint:
        connection = await connect(endpoint, 5)
        line = b"HTTP/1.1 200 OK\r\n"
        value = b"v" * (MAX_HEAD_BYTES + more - (1 if whole else len(line) + len(b"x: ")))
        connection.data_received(line + b"x: " + value + (b"\r\n\r\n" if whole else b""))
        assert connection.closed is bool(more)
        connection.close()


async def test_a_peer_that_is_gone_is_noticed_by_the_kernel() -> None:
    """tests/e2e/test_two_nodes.py has a peer that is gone."""
    async with serving(respond_to_all) as endpoint:
        connection = await connect(endpoint, 5)
        peer = connection._transport.get_extra_info("socket")
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        set_for = {name: peer.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                   for name in PEER_TIMEOUT if hasattr(socket, name)}  # fmt: skip
        assert set_for == {name: PEER_TIMEOUT[name] for name in set_for}
        connection.close()
