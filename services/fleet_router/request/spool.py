"""Keeps the beginning of an upload until its model is known: in memory, then in a file.

`envelope` fills one for each multipart request. The file is nameless and gone with the process.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO

MEMORY_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024


class Spool:
    """Written, then read. At most 1 MiB stays in memory; disk is touched in threads."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: IO[bytes] | None = None
        self._writing: asyncio.Future[None] | None = None

    async def add(self, piece: bytes) -> None:
        """Keep `piece`, also when this is cancelled. Raises OSError when the disk is full."""
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > MEMORY_BYTES:
            await self._written()
            pieces, self._pieces, self._held = self._pieces, [], 0
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, pieces))
            await self._written()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Everything that was added, in order; may be asked for again."""
        await self._written()
        if self._file is not None:
            await asyncio.to_thread(self._file.seek, 0)
            while piece := await asyncio.to_thread(self._file.read, PIECE_BYTES):
                yield piece
        for piece in self._pieces:
            yield piece

    async def close(self) -> None:
        """Delete the file, if there is one. Idempotent."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        self._pieces.clear()
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)

    async def _written(self) -> None:
        """Until the disk has what it is being given: a thread cannot be cancelled."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None

    def _write(self, pieces: list[bytes]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._file.writelines(pieces)
