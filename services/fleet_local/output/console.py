"""The terminal output of `modelfleet up`; a terminal that closes does not end the fleet."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich import console as rich_console
from rich.text import Text

from fleet_contract.safe_text import printable, printable_lines
from fleet_local.errors import StartError

PLAIN_WIDTH = 400
"""Columns of a pipe or file: wide enough that no table cell is cut or wrapped."""


class RichConsole(rich_console.Console):
    """A rich console that turns quiet on a broken pipe, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Console:
    """Prints to stdout, without styles where it is not a terminal, and never raises OSError.

    `rich` is the console underneath; it honours NO_COLOR and similar variables.
    """

    def __init__(self, rich: rich_console.Console | None = None) -> None:
        self.rich = rich or RichConsole(highlight=False)
        if not self.rich.is_terminal:
            self.rich.width = PLAIN_WIDTH

    @property
    def is_terminal(self) -> bool:
        return self.rich.is_terminal

    def print(self, what: rich_console.RenderableType) -> None:
        """Print text or a table; text is never wrapped."""
        with contextlib.suppress(OSError):  # a closed terminal must not end the fleet
            self.rich.print(what, soft_wrap=isinstance(what, str | Text))

    def log(self, text: str) -> None:
        """Print a line with the time of day."""
        self.print(Text(f"{time.strftime('%H:%M:%S')} {text}"))

    def print_error(self, error: StartError) -> None:
        """Print the last output of the process at fault, the reason and the hint."""
        for line in error.output:
            self.print(Text(f"  {printable(line)}", style="dim"))
        self.print(Text.assemble(("modelfleet up: ", "bold red"), printable_lines(error.message)))
        if error.hint:
            self.print(Text(error.hint))

    @contextlib.contextmanager
    def status(self, text: str) -> Iterator[None]:
        """A spinner with `text` during the block; one line where this is not a terminal."""
        if not self.is_terminal:
            self.print(text)
            yield
            return
        with self.rich.status(text):
            yield

    def close(self) -> None:
        """Flush stdout."""
        try:
            sys.stdout.flush()
        except OSError:
            # The interpreter flushes again at exit and would print a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
