"""What the commands print: text that cannot control a terminal, tables, and errors."""

from __future__ import annotations

import io
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table


def tolerant_streams() -> None:
    """Let standard input and output escape what their encoding lacks, as lone surrogates."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def safe(text: str) -> str:
    r"""`text` whose control characters, other than `\n` and `\t`, are escaped as in Python.

    Format characters are kept, unlike in `safe_text.printable`: emoji are joined by them.
    """
    return "".join(
        ascii(character)[1:-1]
        if unicodedata.category(character) == "Cc" and character not in "\n\t"
        else character
        for character in text
    )


def new_table(columns: Iterable[str], right: Collection[str] = ()) -> Table:
    """A table without rows for a terminal; the columns in `right` are aligned on the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            name.replace("_", " "), justify="right" if name in right else "left", overflow="fold"
        )
    return table


def complain(command: str, error: Exception) -> None:
    """Print an error to standard error; of an OSError its file and reason."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    print(f"modelfleet {command}: {safe(text)}", file=sys.stderr, flush=True)


@contextmanager
def errors(command: str) -> Iterator[None]:
    """Exit with 1 and a message instead of RequestFailed, ValueError and OSError."""
    from fleet_cli.client.server import RequestFailed

    try:
        yield
    except BrokenPipeError:  # typer's, which ends without a message
        raise
    except (RequestFailed, ValueError, OSError) as error:
        complain(command, error)
        raise typer.Exit(1) from None
