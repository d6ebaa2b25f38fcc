"""Keeps the beginning of an upload: up to 1 MiB in memory, more in an unnamed temporary file."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from typing import IO, ClassVar

from fleet_contract.errors import FleetError
from fleet_web.request_body.byte_budget import Reservation

MEMORY_BYTES = 1024 * 1024
CHUNK_BYTES = 256 * 1024

logger = logging.getLogger(__name__)


class DiskFull(FleetError):
    """The router has no disk space to keep an upload."""

    status: ClassVar[int] = 507
    type = "service_unavailable"
    default_code = "insufficient_storage"


class Spool:
    """Written, then read; files are accessed in threads. All bytes count against `disk`, those that
    were not written yet against `memory` as well."""

    def __init__(self, memory: Reservation, disk: Reservation) -> None:
        self._memory = memory
        self._disk = disk
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._write_task: asyncio.Future[None] | None = None

    def has_room(self, size: int) -> bool:
        """Count further `size` bytes, which must be added next; False if `disk` has too few."""
        return self._disk.try_acquire(size)

    def count(self, size: int) -> None:
        """As `has_room`; raises the budget's error if it has too few."""
        self._disk.acquire(size)

    async def add(self, chunk: bytes) -> None:
        """Keep `chunk`, which was counted, even if cancelled. Raises DiskFull."""
        self._chunks.append(chunk)
        small = self._memory.size + len(chunk) <= MEMORY_BYTES
        if not (small and self._memory.try_acquire(len(chunk))):
            await self._finish_write()
            chunks, self._chunks = self._chunks, []
            self._memory.free(self._memory.size)
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
        """Delete the file, if any, and release both reservations, even if cancelled; idempotent."""
        # A call that still waits for its thread when it is cancelled would never run.
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        if self._write_task is not None:
            await asyncio.gather(self._write_task, return_exceptions=True)
        self._chunks.clear()
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)
        self._memory.release()
        self._disk.release()

    async def _finish_write(self) -> None:
        """Wait for a running write; shielded, because a thread cannot be cancelled."""
        if self._write_task is not None:
            task = self._write_task
            try:
                await asyncio.shield(task)
            except OSError as error:
                logger.error("cannot write an upload to disk: %s", error)
                raise DiskFull(
                    "The router has no disk space left for this upload; try again later."
                ) from error
            self._write_task = None

    def _write(self, chunks: list[bytes]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._file.writelines(chunks)
        # The rest of a buffer would be written by `close`, whose errors nobody could handle.
        self._file.flush()
