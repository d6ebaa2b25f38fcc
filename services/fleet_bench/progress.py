"""The progress of a measurement on standard error: a bar on a terminal, or JSON lines.

A JSON line is `{"event": "progress", "workload", "model", "done", "total"}`; `done` and `total` are
numbers of requests.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

JSON_SECONDS = 1.0


@contextmanager
def progress(kind: str, model: str, total: int, *, as_json: bool) -> Iterator[Callable[[], None]]:
    """Show progress until the block ends; the function counts a request."""
    if as_json:
        yield _JsonLines(kind, model, total).advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(kind), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(kind, total=total)
        yield lambda: bar.advance(task)


class _JsonLines:
    """A line every JSON_SECONDS."""

    def __init__(self, kind: str, model: str, total: int) -> None:
        self._fields = {"event": "progress", "workload": kind, "model": model}
        self._total = total
        self._done = 0
        self._printed = time.monotonic()

    def advance(self) -> None:
        self._done += 1
        if (now := time.monotonic()) < self._printed + JSON_SECONDS:
            return
        self._printed = now
        line = {**self._fields, "done": self._done, "total": self._total}
        print(json.dumps(line), file=sys.stderr, flush=True)
