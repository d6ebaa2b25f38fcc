"""Connections that are kept, shared and bounded."""

from __future__ import annotations

import asyncio

import pytest

from fleet_contract.errors import QueueFull
from fleet_router.routing.table import Endpoint
from fleet_router.upstream.pool import (
    IDLE_SECONDS,
    MAX_IDLE,
    MAX_PER_ENDPOINT,
    SPARE_POOLS,
    Pool,
    PoolManager,
)
from support.bare_server import ASK, OK, respond_to_all, serving


async def record(pool: Pool) -> tuple[bytes, bool]:
    connection, reused = await pool.acquire()
    await connection.write(ASK)
    connection.request_sent = True
    head = await connection.read_head(5)
    assert head.status == 200
    body = await connection.read(5)
    pool.release(connection)
    return body, reused


async def test_a_connection_is_used_again() -> None:
    async with serving(respond_to_all) as endpoint:
        pool = Pool(endpoint)
        assert await record(pool) == (b"{}", False)
        assert await record(pool) == (b"{}", True)
        assert pool.in_flight == 0
        pool.retire()


async def test_data_on_an_idle_connection_closes_it() -> None:
    more = asyncio.Event()

    async def respond_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await more.wait()
        writer.write(OK)
        await reader.read()

    async with serving(respond_twice) as endpoint:
        pool = Pool(endpoint)
        connection, _ = await pool.acquire()
        await connection.write(ASK)
        connection.request_sent = True
        await connection.read_head(5)
        assert await connection.read(5) == b"{}"
        pool.release(connection)
        assert not connection.closed
        more.set()
        async with asyncio.timeout(5):
            while not connection.closed:  # noqa: ASYNC110 (no event to wait for)
                await asyncio.sleep(0)


async def test_requests_to_one_server_are_bounded() -> None:
    async with serving(respond_to_all) as endpoint:
        pool = Pool(endpoint)
        assert MAX_PER_ENDPOINT == 2048  # docs/router.md
        pool.in_flight = MAX_PER_ENDPOINT
        with pytest.raises(QueueFull):
            await pool.acquire()
        assert pool.in_flight == MAX_PER_ENDPOINT


async def test_a_removed_endpoint_completes_its_running_requests() -> None:
    async with serving(respond_to_all) as endpoint:
        pools = PoolManager()
        pool = pools.of(endpoint)
        await record(pool)
        connection, _ = await pool.acquire()
        assert pools.in_flight(endpoint) == 1
        pools.forget((endpoint,))
        await connection.write(ASK)
        connection.request_sent = True
        assert (await connection.read_head(5)).status == 200
        assert await connection.read(5) == b"{}"
        pool.release(connection)
        assert connection.closed
        assert pools.in_flight(endpoint) == 0


async def test_a_pool_keeps_a_bounded_number_of_idle_connections() -> None:
    async with serving(respond_to_all) as endpoint:
        pool = Pool(endpoint)
        used = [await pool.acquire(fresh=True) for _ in range(MAX_IDLE + 2)]
        for connection, _ in used:
            connection.complete = connection.request_sent = True
            pool.release(connection)
        assert [number for number, (one, _) in enumerate(used) if one.closed] == [0, 1]
        pool.retire()
        assert all(one.closed for one, _ in used)


async def test_the_newest_connection_that_was_not_idle_for_long_is_used() -> None:
    async with serving(respond_to_all) as endpoint:
        pool = Pool(endpoint)
        old, new = [(await pool.acquire(fresh=True))[0] for _ in range(2)]
        for connection in (old, new):
            connection.complete = connection.request_sent = True
            pool.release(connection)
        again, reused = await pool.acquire()
        assert (again, reused) == (new, True)
        old.idle_since -= IDLE_SECONDS
        fresh, reused = await pool.acquire()
        assert (old.closed, reused) == (True, False)
        for connection in (again, fresh):
            pool.release(connection)
            assert connection.closed  # its exchange is not complete


async def test_a_load_is_the_sum_of_costs_and_exactly_zero_when_idle() -> None:
    async with serving(respond_to_all) as endpoint:
        pools = PoolManager()
        assert (pools.in_flight(endpoint), pools.load(endpoint)) == (0, 0.0)
        pool = pools.of(endpoint)
        first, _ = await pool.acquire(cost=0.1)
        second, _ = await pool.acquire(cost=0.2)
        assert pools.in_flight(endpoint) == 2
        assert pools.load(endpoint) == pytest.approx(0.3)
        pool.release(first, 0.1)
        assert (pools.in_flight(endpoint), pools.load(endpoint)) == (1, pytest.approx(0.2))
        pool.release(second, 0.2)
        assert (pools.in_flight(endpoint), pools.load(endpoint)) == (0, 0.0)


async def test_pools_of_removed_servers_are_dropped_once_they_are_many() -> None:
    pools = PoolManager()
    known, *removed = [Endpoint(str(n), "10.0.0.1", n) for n in range(1, SPARE_POOLS + 3)]
    for endpoint in (known, *removed):
        pools.of(endpoint)
    kept = pools.of(known), pools.of(removed[0])
    pools.sweep([known, removed[-1]])
    assert (pools.of(known), pools.of(removed[0])) == kept
    pools.sweep([known])
    assert pools.of(known) is kept[0]
    assert pools.of(removed[0]) is not kept[1]
