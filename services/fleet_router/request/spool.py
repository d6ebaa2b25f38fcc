"""Keeps the beginning of an upload: up to 1 MiB in memory, more in an unnamed temporary file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO

MEMORY_BYTES = 1024 * 1024
CHUNK_BYTES = 256 * 1024


class Spool:
    """Written, then read; files are accessed in threads."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._write_task: asyncio.Future[None] | None = None

    async def add(self, chunk: bytes) -> None:
        """Keep `chunk`, even if cancelled. Raises OSError when the disk is full."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > MEMORY_BYTES:
            await self._finish_write()
            chunks, self._chunks, self._size = self._chunks, [], 0
            self._write_task = asyncio.ensure_future(asyncio.to_thread(self._write, chunks))
            await self._finish_write()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Everything that was added, in order; may be called repeatedly."""
        await self._finish_write()
        if self._file is not None:
            await asyncio.to_thread(self._file.seek, 0)
            while chunk := await asyncio.to_thread(self._file.read, CHUNK_BYTES):
                yield chunk
        for chunk in self._chunks:
            yield chunk

    async def close(self) -> None:
        """Delete the file, if any; idempotent."""
        if self._write_task is not None:
            await asyncio.gather(self._write_task, return_exceptions=True)
        self._chunks.clear()
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)

    async def _finish_write(self) -> None:
        """Wait for a running write; shielded, because a thread cannot be cancelled."""
        if self._write_task is not None:
            await asyncio.shield(self._write_task)
            self._write_task = None

    def _write(self, chunks: list[bytes]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._file.writelines(chunks)
