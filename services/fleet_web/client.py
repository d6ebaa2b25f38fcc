"""Notices a client that disconnects before its response is complete.

ASGI reports a disconnect only to a task that waits in `receive`, and such a task costs more than
all the rest of a small request. `uvicorn_ext` therefore puts a client with a callback into the
scope of every request; elsewhere `PolledClient` waits in `receive`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

KEY = "modelfleet.client"
"""Where in a request's scope its client is."""

T = TypeVar("T")


class Client(ABC):
    """The client of one request."""

    @property
    @abstractmethod
    def sent_all(self) -> bool:
        """Whether the whole body is known to have arrived."""

    @abstractmethod
    def on_disconnect(self, callback: Callable[[], object] | None) -> None:
        """Call `callback` once when the client disconnects, immediately if it already has; None
        removes it."""

    @abstractmethod
    def watch(self) -> None:
        """Notice a disconnect from now on. The body must have been read."""


class PolledClient(Client):
    """Works with any ASGI server: a task waits in `receive` while there is a callback."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._callback: Callable[[], object] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._left = False

    @property
    def sent_all(self) -> bool:
        return False

    def on_disconnect(self, callback: Callable[[], object] | None) -> None:
        self._callback = callback
        if callback is None and self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        elif callback is not None and self._left:
            callback()

    def watch(self) -> None:
        if self._watcher is None and not self._left:
            self._watcher = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left, self._watcher = True, None
        if self._callback is not None:
            self._callback()


def client_of(request: Request) -> Client:
    """The client of a request."""
    client: Client | None = request.scope.get(KEY)
    if client is None:
        client = request.scope[KEY] = PolledClient(request.receive)
    return client


def has_sent_all(scope: Scope) -> bool:
    """Whether the whole body of a request is known to have arrived."""
    client = scope.get(KEY)
    return client is not None and client.sent_all


async def run_while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await `work` in this task and cancel it as soon as the client disconnects.

    The request's body must have been read. Raises ClientDisconnect.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  (a coroutine runs in a task)
    loop, working, left = asyncio.get_running_loop(), True, False

    def cancel() -> None:
        nonlocal left
        if working:
            left = True
            task.cancel()

    client = client_of(request)
    # In the next turn: cancelled before its first await, the task would keep the cancellation
    # beyond the end of `work`.
    client.on_disconnect(lambda: loop.call_soon(cancel))
    client.watch()
    try:
        return await work
    except asyncio.CancelledError:
        # Above 0: the task was cancelled from elsewhere too, which takes precedence.
        if left and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        working = False
        client.on_disconnect(None)
