"""Work that is cancelled when its client disconnects, and only then."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from fleet_web.client import run_while_connected


class Client:
    """The receiving end of a request whose body was read; `leave` closes it."""

    def __init__(self) -> None:
        self._left = asyncio.Event()
        self.request = Request({"type": "http"}, self._receive)

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}


def not_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0


async def test_the_result_of_work() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 5

    assert await run_while_connected(Client().request, work()) == 5
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_an_error_of_work() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await run_while_connected(Client().request, work())


async def test_a_disconnect_cancels_the_work() -> None:
    client, cleaned = Client(), False

    async def work() -> None:
        nonlocal cleaned
        try:
            client.leave()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    with pytest.raises(ClientDisconnect):
        await run_while_connected(client.request, work())
    assert cleaned
    assert not_cancelled()
    await asyncio.sleep(0)  # would raise if a cancellation were left over


async def test_a_disconnect_as_the_work_ends_cancels_nothing_later() -> None:
    client = Client()

    async def work() -> int:
        await asyncio.sleep(0)
        client.leave()
        return 5

    assert await run_while_connected(client.request, work()) == 5
    for _ in range(5):
        await asyncio.sleep(0)
    assert not_cancelled()


async def test_a_disconnect_and_a_result_in_the_same_turn() -> None:
    client, ready = Client(), asyncio.get_running_loop().create_future()

    async def work() -> int:
        return int(await ready)

    async def both() -> None:
        await asyncio.sleep(0)
        client.leave()
        ready.set_result(5)

    other = asyncio.create_task(both())
    with contextlib.suppress(ClientDisconnect):
        assert await run_while_connected(client.request, work()) == 5
    await other
    for _ in range(5):
        await asyncio.sleep(0)
    assert not_cancelled()


async def test_cancellation_from_outside_is_not_a_disconnect() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(run_while_connected(Client().request, work()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_timeout_of_the_work_is_raised() -> None:
    async def work() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await run_while_connected(Client().request, work())
    assert not_cancelled()
