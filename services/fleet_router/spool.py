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
    """Written once, then read once. At most 1 MiB stays in memory; disk is touched in threads."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: IO[bytes] | None = None

    async def add(self, piece: bytes) -> None:
        """Keep `piece`. Raises OSError when the disk is full."""
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > MEMORY_BYTES:
            await asyncio.to_thread(self._write_out)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Everything that was added, in order."""
        if self._file is not None:
            await asyncio.to_thread(self._file.seek, 0)
            while piece := await asyncio.to_thread(self._file.read, PIECE_BYTES):
                yield piece
        for piece in self._pieces:
            yield piece

    async def close(self) -> None:
        """Delete the file, if there is one. Idempotent."""
        self._pieces.clear()
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)

    def _write_out(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._file.writelines(self._pieces)
        self._pieces.clear()
        self._held = 0
