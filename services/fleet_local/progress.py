"""Draws how far downloads are: bars on a terminal, lines elsewhere. Used by `pull`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fleet_local.voice import Voice

LINE_SECONDS = 5.0
MIB = 1024 * 1024

Progressed = Callable[[int, int | None], None]
"""Told bytes done and bytes in all, from the thread that downloads."""


class Shown(Protocol):
    """Something that shows downloads."""

    def begin(self, model: str) -> Progressed: ...

    def end(self, model: str) -> None: ...


@contextlib.contextmanager
def drawing(voice: Voice) -> Iterator[Shown]:
    """What shows downloads where `voice` speaks."""
    if not voice.is_terminal:
        yield Lines(voice)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
        TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=voice.console) as bars:
        yield Bars(bars)


class Bars:
    """One bar for each model; it stays when it is full."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def begin(self, model: str) -> Progressed:
        task = self._bars.add_task(model, total=None)
        return lambda done, total: self._bars.update(task, completed=done, total=total)

    def end(self, model: str) -> None:
        """Nothing to do."""


class Lines:
    """A line at the beginning, at the end and every 5 seconds between."""

    def __init__(self, voice: Voice, clock: Callable[[], float] = time.monotonic) -> None:
        self._voice = voice
        self._clock = clock

    def begin(self, model: str) -> Progressed:
        self._voice.say(f"fetching {model}")
        told = self._clock()

        def progressed(done: int, total: int | None) -> None:
            nonlocal told
            if self._clock() - told >= LINE_SECONDS:
                told = self._clock()
                self._voice.say(amount(model, done, total))

        return progressed

    def end(self, model: str) -> None:
        self._voice.say(f"fetched {model}")


def amount(model: str, done: int, total: int | None) -> str:
    """`fetching m: 12 of 98 MiB (12%)`, or without a total where it is not known."""
    if not total:
        return f"fetching {model}: {done / MIB:.0f} MiB"
    return f"fetching {model}: {done / MIB:.0f} of {total / MIB:.0f} MiB ({100 * done // total}%)"
