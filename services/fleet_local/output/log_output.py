"""The log of a process: a file, or this terminal with a prefix on each line.

One for each service; it outlives the processes that write to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections import deque
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.text import Text

from fleet_contract.safe_text import printable

TAIL_BYTES = 64 * 1024
TAIL_LINES = 400
LINE_BYTES = 16 * 1024
FILE_BYTES = 64 * 1024 * 1024


class LogOutput(Protocol):
    """Where the output of a service's processes goes."""

    def open(self) -> int:
        """A file descriptor for one process; the caller closes it after starting the process."""
        ...

    def tail(self) -> list[str]:
        """The last lines, oldest first."""

    @property
    def place(self) -> str:
        """Where a user finds the log, for messages."""

    def trim(self) -> None:
        """Bound the size of what is stored."""
        ...


class LogFile(LogOutput):
    """A file; the file of the previous fleet is kept as `<name>.1`."""

    def __init__(self, path: Path, most: int = FILE_BYTES) -> None:
        self.path = path
        self._old = path.with_name(path.name + ".1")
        self._most = most
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.replace(self._old)

    def open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def tail(self) -> list[str]:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                text = file.read()
        except FileNotFoundError:
            return []
        return text.decode("utf-8", "replace").splitlines()[-TAIL_LINES:]

    @property
    def place(self) -> str:
        return str(self.path)

    def trim(self) -> None:
        """Move the content to `<name>.1` when the file is too long."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > self._most:
                # Copied, not renamed: writers keep the file open, and append at its new end.
                shutil.copyfile(self.path, self._old)
                os.truncate(self.path, 0)


class LogTerminal(LogOutput):
    """This terminal; a thread for each process copies its lines."""

    def __init__(self, name: str, colour: str, console: Console) -> None:
        self._prefix = (f"{name} | ", colour)
        self._console = console
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def open(self) -> int:
        reader, writer = os.pipe()
        threading.Thread(target=self._copy_lines, args=(reader,), daemon=True).start()
        return writer

    def tail(self) -> list[str]:
        return list(self._lines)

    @property
    def place(self) -> str:
        return "the lines above"

    def trim(self) -> None:
        """Nothing to do: only the last lines are kept."""

    def _copy_lines(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as lines:
            while raw := lines.readline(LINE_BYTES):
                # Native libraries print as well, not only loggers.
                line = printable(raw.decode("utf-8", "replace").rstrip("\n"))
                self._lines.append(line)
                text = Text.assemble(self._prefix, line)
                self._console.print(text, soft_wrap=True, highlight=False)
