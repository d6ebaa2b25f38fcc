"""What is sent to a model server as the request's body: the client's own bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from fleet_router.spool import Spool


class Body(Protocol):
    """A body; `length` None means unknown, `replayable` that it can be sent once more."""

    @property
    def length(self) -> int | None: ...

    @property
    def replayable(self) -> bool: ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, in order; may raise what reading from the client raises."""

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

    @property
    def length(self) -> int:
        return len(self.data)

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.data

    async def close(self) -> None:
        release, self.release = self.release, _nothing
        self.data = b""
        release()


@dataclass(slots=True)
class StreamedBody:
    """What was read already, kept in `spool`, and the rest as the client sends it."""

    spool: Spool
    rest: AsyncIterator[bytes]
    length: int | None
    started: bool = field(default=False, init=False)

    @property
    def replayable(self) -> bool:
        return not self.started

    async def pieces(self) -> AsyncIterator[bytes]:
        self.started = True
        async for piece in self.spool.pieces():
            yield piece
        await self.spool.close()
        async for piece in self.rest:
            yield piece

    async def close(self) -> None:
        await self.spool.close()
