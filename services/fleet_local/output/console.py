"""What `modelfleet up` says on its terminal, which may close while the fleet still runs."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.text import Text

from fleet_local.errors import StartError

PLAIN_WIDTH = 400
"""A pipe or file has no width to keep to; nothing is cut or wrapped there."""


class Screen(Console):
    """A console that falls silent when its reader is gone, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Output:
    """Prints plainly where nobody looks at a terminal, and never fails because of where it prints.

    `name=text` pairs of the environment, such as NO_COLOR, are honoured by rich.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Screen(highlight=False)
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH

    @property
    def is_terminal(self) -> bool:
        return self.console.is_terminal

    def say(self, what: RenderableType) -> None:
        """Print it; a closed terminal or pipe is no reason to stop serving."""
        with contextlib.suppress(OSError):
            self.console.print(what, soft_wrap=isinstance(what, str | Text))

    def tell(self, text: str) -> None:
        """Print a line about a process, with the time."""
        self.say(Text(f"{time.strftime('%H:%M:%S')} {text}"))

    def failure(self, error: StartError) -> None:
        """Print why the fleet does not start: the last output, the reason, what to do."""
        for line in error.output:
            self.say(Text(f"  {line}", style="dim"))
        self.say(Text.assemble(("modelfleet up: ", "bold red"), error.message))
        if error.hint:
            self.say(Text(error.hint))

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something goes on: a spinner on a terminal, one line elsewhere."""
        if not self.is_terminal:
            self.say(text)
            yield
            return
        with self.console.status(text):
            yield

    def close(self) -> None:
        """Write out what is left; where that fails, let the interpreter not try again."""
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
