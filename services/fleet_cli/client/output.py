"""What the commands print: text that cannot control a terminal, and errors."""

from __future__ import annotations

import io
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import typer


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
