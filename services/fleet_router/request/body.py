"""Request bodies as they are sent to a model server: the client's bytes, in memory or streamed.

They are changed only if the upstream model has another name than the requested one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from fleet_router.request.fields import with_model
from fleet_router.request.spool import Spool
from fleet_web.body import THREAD_BYTES
from fleet_web.request_body.byte_budget import Reservation
from fleet_web.request_body.json_body import Data

FIELD = b'--%b\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n'
"""A part of a form, with boundary and value; inserted in front of a form without the field."""


class Body(Protocol):
    """A body that can be sent to a server."""

    @property
    def length(self) -> int | None:
        """Bytes; None if unknown."""

    @property
    def replayable(self) -> bool:
        """Whether it can be sent once more."""

    @property
    def in_memory(self) -> Data | None:
        """The whole body, if it is in memory."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in order. Raises what reading from the client raises."""

    @property
    def complete(self) -> bool:
        """Whether all of it was read from the client."""

    async def read_rest(self) -> None:
        """Read from the client until the body is complete. Raises what reading from the client
        raises; may be cancelled and called again."""

    async def rename(self, model: str) -> None:
        """Replace the name of the model from the next time the body is sent. Raises QueueFull if
        there is no memory for it."""

    async def close(self) -> None:
        """Free memory and files; idempotent. Nothing can be read afterwards."""


@dataclass(slots=True)
class WholeBody:
    """A body in memory, which is released once it is not needed any more."""

    data: Data
    memory: Reservation
    replayable: bool = True
    complete: bool = True

    @property
    def length(self) -> int:
        return len(self.data)

    @property
    def in_memory(self) -> Data:
        return self.data

    async def read_rest(self) -> None:
        return

    async def rename(self, model: str) -> None:
        if len(self.data) > THREAD_BYTES:
            size = len(self.data)
            self.memory.acquire(size)  # twice in memory meanwhile
            self.data = await asyncio.to_thread(with_model, self.data, model)
            self.memory.free(size)
        else:
            self.data = with_model(self.data, model)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield bytes(self.data)

    async def close(self) -> None:
        self.data = b""
        self.memory.release()


@dataclass(slots=True)
class StreamedBody:
    """The beginning of a body, kept in `spool`, and the rest as the client sends it.

    `span` is the range of the model's name in the beginning; (0, 0) if there is none.
    """

    spool: Spool
    rest: AsyncIterator[bytes]
    length: int | None
    span: tuple[int, int] = (0, 0)
    boundary: bytes = b""
    complete: bool = field(default=False, init=False)
    started: bool = field(default=False, init=False)
    _name: bytes | None = field(default=None, init=False)
    _next_chunk: asyncio.Task[bytes | None] | None = field(default=None, init=False)

    @property
    def replayable(self) -> bool:
        return self.complete or not self.started

    async def read_rest(self) -> None:
        while not self.complete:
            chunk = await asyncio.shield(self._read_chunk())
            if chunk is None:
                self.complete, self._next_chunk = True, None
            elif self.spool.has_room(len(chunk)):
                self._next_chunk = None
                await self.spool.add(chunk)
            else:  # The budget is used up: stop reading, so that the client has to wait.
                await asyncio.get_running_loop().create_future()

    def _read_chunk(self) -> asyncio.Task[bytes | None]:
        """The task that reads the next chunk. It outlives a cancelled caller, because the bytes it
        reads must not be lost."""
        if self._next_chunk is None:
            self._next_chunk = asyncio.ensure_future(anext(self.rest, None))
        return self._next_chunk

    @property
    def in_memory(self) -> None:
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

    async def chunks(self) -> AsyncIterator[bytes]:
        self.started = True
        chunks = self.spool.chunks()
        if self._name is not None:
            chunks = replaced(chunks, *self.span, self._name)
        async for chunk in chunks:
            yield chunk
        if self.complete:
            return
        # What was kept has been sent, and a body that has started is not sent again.
        await self.spool.close()
        # A read that a cancelled `read_rest` left behind has the next bytes.
        if self._next_chunk is not None and (pending := await self._next_chunk) is not None:
            yield pending
        async for chunk in self.rest:
            yield chunk

    async def close(self) -> None:
        if self._next_chunk is not None:
            self._next_chunk.cancel()
            await asyncio.gather(self._next_chunk, return_exceptions=True)
        await self.spool.close()


async def replaced(
    chunks: AsyncIterator[bytes], start: int, end: int, new: bytes
) -> AsyncIterator[bytes]:
    """The bytes of `chunks` with those from `start` to `end` replaced by `new`."""
    at = 0
    async for chunk in chunks:
        until = at + len(chunk)
        if at <= start < until or (start == at == 0):
            yield chunk[: start - at] + new
        elif until <= start:
            yield chunk
        if until > end:
            yield chunk[max(0, end - at) :]
        at = until
