"""Where the lines of a process go: a file, or this terminal with the process's name before them.

Made by `fleet`, one for each process; it lives longer than the processes that write to it.
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

TAIL_BYTES = 64 * 1024
TAIL_LINES = 400
LINE_BYTES = 16 * 1024
FILE_BYTES = 64 * 1024 * 1024


class LogOutput(Protocol):
    """`open` gives the descriptor one process writes to; the caller closes it once it started."""

    def open(self) -> int: ...

    def tail(self) -> list[str]:
        """The last lines, oldest first."""

    @property
    def place(self) -> str:
        """Where to read more."""

    def trim(self) -> None:
        """Keep what is stored bounded; called now and then."""
        ...


class LogFile(LogOutput):
    """A file; what the last fleet wrote there is kept beside it once, with `.1` in its name."""

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
        """Begin anew when the file is too long. Its writers append, so they go on at its start."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > self._most:
                shutil.copyfile(self.path, self._old)
                os.truncate(self.path, 0)


class LogTerminal(LogOutput):
    """This terminal; a thread for each process passes its lines on."""

    def __init__(self, name: str, colour: str, console: Console) -> None:
        self._prefix = (f"{name} | ", colour)
        self._console = console
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def open(self) -> int:
        reader, writer = os.pipe()
        threading.Thread(target=self._pass_on, args=(reader,), daemon=True).start()
        return writer

    def tail(self) -> list[str]:
        return list(self._lines)

    @property
    def place(self) -> str:
        return "the lines above"

    def trim(self) -> None:
        """Nothing to do: only the last lines are kept."""

    def _pass_on(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as lines:
            while raw := lines.readline(LINE_BYTES):
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._lines.append(line)
                text = Text.assemble(self._prefix, line)
                self._console.print(text, soft_wrap=True, highlight=False)
