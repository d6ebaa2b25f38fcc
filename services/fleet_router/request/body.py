"""What is sent to a model server as the request's body: the client's own bytes.

Only where another model answers than the one asked for is its name exchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from fleet_router.request.byte_budget import ByteBudget
from fleet_router.request.spool import Spool

THREAD_BYTES = 1024 * 1024
"""Bodies beyond this are parsed in a thread."""
FIELD = b'--%b\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n'


class Body(Protocol):
    """A body; `length` None means unknown, `replayable` that it can be sent once more."""

    @property
    def length(self) -> int | None: ...

    @property
    def replayable(self) -> bool: ...

    @property
    def at_hand(self) -> bytes | None:
        """All of it, where it lies in memory."""

    def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, in order; may raise what reading from the client raises."""

    @property
    def whole(self) -> bool:
        """Whether all of it has been read from the client."""

    async def read_on(self) -> None:
        """Take what the client still sends, until the body is whole. Raises what reading from the
        client raises; may be cancelled, and called again."""

    async def rename(self, model: str) -> None:
        """Have the body ask for `model` when it is sent the next time."""

    async def close(self) -> None:
        """Give back memory and files; idempotent, and nothing can be read afterwards."""


def _nothing() -> None:
    return


@dataclass(slots=True)
class WholeBody:
    """A body that lies in memory; `release` is called when it is not needed any more."""

    data: bytes
    release: Callable[[], None]
    replayable: bool = True
    whole: bool = True

    @property
    def length(self) -> int:
        return len(self.data)

    @property
    def at_hand(self) -> bytes:
        return self.data

    async def read_on(self) -> None:
        return

    async def rename(self, model: str) -> None:
        if len(self.data) > THREAD_BYTES:
            self.data = await asyncio.to_thread(renamed, self.data, model)
        else:
            self.data = renamed(self.data, model)

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.data

    async def close(self) -> None:
        release, self.release = self.release, _nothing
        self.data = b""
        release()


@dataclass(slots=True)
class StreamedBody:
    """What was read already, kept in `spool`, and the rest as the client sends it.

    `span` is where the name of its model lies, in what was read; (0, 0) when it has none. `disk`
    bounds what all bodies together take of it while they wait for a server.
    """

    spool: Spool
    rest: AsyncIterator[bytes]
    length: int | None
    disk: ByteBudget
    span: tuple[int, int] = (0, 0)
    boundary: bytes = b""
    whole: bool = field(default=False, init=False)
    started: bool = field(default=False, init=False)
    _name: bytes | None = field(default=None, init=False)
    _coming: asyncio.Task[bytes | None] | None = field(default=None, init=False)
    _taken: int = field(default=0, init=False)

    @property
    def replayable(self) -> bool:
        return self.whole or not self.started

    async def read_on(self) -> None:
        while not self.whole:
            piece = await asyncio.shield(self._next())
            if piece is None:
                self.whole, self._coming = True, None
            elif self.disk.try_take(len(piece)):
                self._coming = None
                self._taken += len(piece)
                await self.spool.add(piece)
            else:  # no room: the client waits for a server as well, and is not heard
                await asyncio.get_running_loop().create_future()

    def _next(self) -> asyncio.Task[bytes | None]:
        """The next piece the client sends: a task that outlives whoever awaited it, for what it
        reads must not be lost."""
        if self._coming is None:
            self._coming = asyncio.ensure_future(anext(self.rest, None))
        return self._coming

    @property
    def at_hand(self) -> None:
        return None

    async def rename(self, model: str) -> None:
        start, end = self.span
        name = model.encode()
        if start == end:
            name = FIELD % (self.boundary, name)
        if self.length is not None:
            old = len(self._name) if self._name is not None else end - start
            self.length += len(name) - old
        self._name = name

    async def pieces(self) -> AsyncIterator[bytes]:
        self.started = True
        pieces = self.spool.pieces()
        if self._name is not None:
            pieces = replaced(pieces, *self.span, self._name)
        async for piece in pieces:
            yield piece
        if self.whole:
            return
        await self._forget()
        if self._coming is not None and (waited_for := await self._coming) is not None:
            yield waited_for
        async for piece in self.rest:
            yield piece

    async def close(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
        await self._forget()

    async def _forget(self) -> None:
        taken, self._taken = self._taken, 0
        self.disk.give(taken)
        await self.spool.close()


async def replaced(
    pieces: AsyncIterator[bytes], start: int, end: int, new: bytes
) -> AsyncIterator[bytes]:
    """The bytes of `pieces` with those from `start` to `end` replaced by `new`."""
    at = 0
    async for piece in pieces:
        until = at + len(piece)
        if at <= start < until or (start == at == 0):
            yield piece[: start - at] + new
        elif until <= start:
            yield piece
        if until > end:
            yield piece[max(0, end - at) :]
        at = until


def renamed(data: bytes, model: str) -> bytes:
    """A JSON object with another `model`; the rest means the same, written anew."""
    return orjson.dumps({**orjson.loads(data), "model": model})
