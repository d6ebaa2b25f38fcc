"""Notices a client that leaves while its answer is being computed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection; nobody reads an answer."""


async def or_gone(request: Request, work: Awaitable[T]) -> T:
    """Await `work` in this task, cancelling it as soon as the client leaves.

    The request's body must have been read to its end. Raises ClientGone.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  (somebody awaits this)
    cancel, working, left = task.cancel, True, False

    def leave(watcher: asyncio.Future[None]) -> None:
        nonlocal left
        if working and not watcher.cancelled():
            left = True
            cancel()

    watcher = asyncio.ensure_future(_left(request))
    watcher.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        working = False
        watcher.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
