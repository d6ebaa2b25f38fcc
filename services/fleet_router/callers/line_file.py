"""A log file of whole lines that several processes may append to, rotated by size.

The file is opened again when it was renamed or removed, as by logrotate.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

OLD_FILES = 9
"""Files of earlier rotations that are kept: `<name>.1` is the newest."""


class LineFile:
    """Opens `path` at once. Raises OSError where that fails; blocking, not thread-safe.

    Once the file has `max_bytes` it is renamed to `<name>.1` before the next line; 0 never. Set
    `stale`, from any thread, to have the file opened again before the next line.
    """

    def __init__(self, path: Path, max_bytes: int = 0) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file = self._open()
        self.stale = False

    def append(self, lines: Sequence[bytes]) -> None:
        """Append lines, which end with a newline, all or none. Raises OSError."""
        data = b"".join(lines)
        if self.stale:
            self.stale = False
            self._reopen()
        self._lock_current()
        try:
            if self._max_bytes and os.fstat(self._file).st_size >= self._max_bytes:
                self._rotate()
            size = os.fstat(self._file).st_size
            try:
                self._write(data)
            except OSError:
                # A full disk: no part of a line may stay.
                os.ftruncate(self._file, size)
                raise
        finally:
            self._unlock()

    def _reopen(self) -> None:
        new = self._open()
        os.close(self._file)
        self._file = new

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def _write(self, data: bytes) -> None:
        while data:
            # A write may be short, as on a disk that is almost full.
            data = data[os.write(self._file, data) :]

    def _lock_current(self) -> None:
        """Lock the file that has the path now."""
        while True:
            # Some network file systems have no locks; one writer needs none.
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX)
            # Another process may have rotated the file before this one got the lock.
            if self._is_current():
                return
            self._reopen()

    def _unlock(self) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _is_current(self) -> bool:
        own = os.fstat(self._file)
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return (own.st_ino, own.st_dev) == (named.st_ino, named.st_dev)

    def _rotate(self) -> None:
        # The oldest first: each rename replaces a file that was renamed before.
        for number in range(OLD_FILES, 0, -1):
            older = self._path if number == 1 else self._old(number - 1)
            with contextlib.suppress(FileNotFoundError):
                older.replace(self._old(number))
        self._reopen()
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def _old(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
