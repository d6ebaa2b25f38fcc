"""Progress of downloads and conversions: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fleet_local.output.console import Console
from fleet_prepare.stage import PrepareStage, Report

LINE_SECONDS = 5.0
MIB = 1024 * 1024

PAST = {PrepareStage.FETCHING: "fetched", PrepareStage.CONVERTING: "converted"}


class ProgressDisplay(Protocol):
    """Shows the progress of each model; a `Report` may be called from any thread."""

    def begin(self, model: str) -> Report: ...

    def end(self, model: str) -> None: ...


@contextlib.contextmanager
def progress_display(console: Console) -> Iterator[ProgressDisplay]:
    """Bars where `console` is a terminal, else lines."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
        TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console.rich) as bars:
        yield Bars(bars)


class Bars:
    """One bar for each model and stage, kept when it is full."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def begin(self, model: str) -> Report:
        tasks: dict[PrepareStage, TaskID] = {}

        def report(stage: PrepareStage, done: int, total: int | None) -> None:
            if stage not in tasks:
                label = (
                    model
                    if stage is PrepareStage.FETCHING
                    else f"{stage.value.capitalize()} {model}"
                )
                tasks[stage] = self._bars.add_task(label, total=None)
            self._bars.update(tasks[stage], completed=done, total=total)

        return report

    def end(self, model: str) -> None:
        """Nothing to do."""


class Lines:
    """A line at the start and the end of each stage, and every 5 seconds in between."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._stages: dict[str, PrepareStage] = {}

    def begin(self, model: str) -> Report:
        last = self._clock()

        def report(stage: PrepareStage, done: int, total: int | None) -> None:
            nonlocal last
            if self._stages.get(model) is not stage:
                self.end(model)
                self._stages[model] = stage
                self._console.print(f"{stage.value} {model}")
                last = self._clock()
            elif self._clock() - last >= LINE_SECONDS:
                last = self._clock()
                self._console.print(amount(stage, model, done, total))

        return report

    def end(self, model: str) -> None:
        if (stage := self._stages.pop(model, None)) is not None:
            self._console.print(f"{PAST[stage]} {model}")


def amount(stage: PrepareStage, model: str, done: int, total: int | None) -> str:
    """`fetching m: 12 of 98 MiB (12%)`; without the total where it is unknown."""
    what = f"{stage.value} {model}"
    if not total:
        return f"{what}: {done / MIB:.0f} MiB"
    return f"{what}: {done / MIB:.0f} of {total / MIB:.0f} MiB ({100 * done // total}%)"
