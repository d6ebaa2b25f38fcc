"""Scratch space of recordings, in memory and temporary files, bounded for all requests together."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from typing import Any

import numpy as np

from fleet_contract.errors import NotReady, QueueFull
from fleet_server.protocols import Float32

RETRY_SECONDS = 5.0
MOST_OF_ONE = 0.5
"""Share of the space that one caller may use."""


class Scratch:
    """At most `limit` bytes are in use at the same time, half of them by one caller. Thread-safe.

    Without a caller (`""`) only the whole limit counts.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        return self._used.total()

    def take(self, number: int, caller: str) -> None:
        """Count `number` bytes as in use by `caller`. Raises QueueFull."""
        with self._lock:
            mine, all_used = self._used[caller] + number, self._used.total() + number
            if all_used > self.limit or (caller and mine > self.limit * MOST_OF_ONE):
                raise QueueFull(
                    f"Running requests keep {all_used} bytes of recordings, {mine} of them yours; "
                    f"at most {self.limit} are stored, and half of them for one caller. Please "
                    f"try again.",
                    retry_after=RETRY_SECONDS,
                )
            self._used[caller] = mine

    def give_back(self, number: int, caller: str) -> None:
        """Count `number` bytes of `caller` as free again."""
        with self._lock:
            self._used[caller] -= number
            if not self._used[caller]:
                del self._used[caller]


class ScratchFile(tempfile.SpooledTemporaryFile[bytes]):
    """A file in memory, of more than `in_memory` bytes on disk; its bytes count until `close`."""

    def __init__(self, scratch: Scratch, in_memory: int, caller: str = "") -> None:
        super().__init__(in_memory)
        self._scratch = scratch
        self._caller = caller
        self._taken = 0

    def write(self, data: Any) -> int:
        """Append bytes. Raises QueueFull if the scratch space does not suffice, NotReady if the
        disk is full."""
        number = memoryview(data).nbytes
        self._scratch.take(number, self._caller)
        self._taken += number
        try:
            return super().write(data)
        except OSError as error:
            raise NotReady(
                f"The server cannot store the recording: {error.strerror}.",
                retry_after=RETRY_SECONDS,
            ) from error

    def floats(self) -> Float32:
        """The content as float32, mapped if it lies on disk; it must not be used after `close`."""
        number = self._taken // 4
        if not number:
            return np.empty(0, np.float32)
        file: Any = self._file
        if hasattr(file, "getvalue"):  # a BytesIO, which shares its bytes
            return np.frombuffer(file.getvalue(), dtype=np.float32)
        self.flush()
        mapped: Float32 = np.memmap(file, dtype=np.float32, mode="r+", shape=(number,))
        return mapped

    def close(self) -> None:
        """Delete the file and free its space. Idempotent."""
        super().close()
        self._scratch.give_back(self._taken, self._caller)
        self._taken = 0

    def __exit__(self, *error: object) -> None:
        self.close()  # the base class closes only the file that it wraps
