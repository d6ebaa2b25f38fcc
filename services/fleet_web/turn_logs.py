"""A log handler that writes the lines of one turn of the event loop at once. Used by `logs`.

A busy router logs several requests in a turn, and a write for each costs more than its line.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TextIO

MOST_LINES = 200
"""Lines kept in a turn."""


class TurnHandler(logging.StreamHandler[TextIO]):
    """Lines logged outside of a loop are written at once, after those that wait."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._due = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's line to the end of this turn; warnings are not put off."""
        try:
            self._lines.append(self.format(record))
            full = record.levelno >= logging.WARNING or len(self._lines) >= MOST_LINES
            if full or not (self._due or self._put_off()):
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            lines, self._lines, self._due = self._lines, [], False
            if lines:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()
        finally:
            self.release()

    def _put_off(self) -> bool:
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            return False
        self._due = True
        return True
