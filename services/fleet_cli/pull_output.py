"""What `modelfleet pull` prints: bars on a terminal, lines elsewhere, or JSON lines.

A JSON line is one of

    {"event": "progress", "model", "stage", "done_bytes", "total_bytes", "bytes_per_second"}
    {"event": "pulled" or "present", "model", "folder", "seconds"}
    {"event": "skipped", "failed" or "unservable", "model", "message", "hint"}
    {"event": "without_weights", "model", "engine"}

`stage` is fetching or converting; unknown numbers are null. `unservable` follows `pulled` where
this machine cannot serve the model.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fleet_prepare.stage import PrepareStage, Report

LINE_SECONDS = 5.0
JSON_SECONDS = 0.5
VERBS = {PrepareStage.FETCHING: "pulling", PrepareStage.CONVERTING: "converting"}


class Output(Protocol):
    """Prints progress and results; methods are called from one thread, reports from any."""

    def progress(self, model: str) -> AbstractContextManager[Report]:
        """Show progress until the block ends."""
        ...

    def pulled(self, model: str, folder: Path, seconds: float, *, present: bool) -> None:
        """The weights are in `folder`; `present`: they were before."""
        ...

    def skipped(self, model: str, message: str, hint: str) -> None:
        """There is no room for the model."""
        ...

    def failed(self, model: str, message: str, hint: str) -> None:
        """The model could not be pulled."""
        ...

    def unservable(self, model: str, message: str, hint: str) -> None:
        """This machine cannot serve a model that was pulled."""
        ...

    def without_weights(self, model: str, engine: str) -> None:
        """There is nothing to pull."""
        ...


class TextOutput:
    """For people; errors are printed to standard error."""

    def __init__(self) -> None:
        self._console = Console()

    @contextmanager
    def progress(self, model: str) -> Iterator[Report]:
        if not self._console.is_terminal:
            yield _Lines(model).report
            return
        with Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
            TransferSpeedColumn(), TimeRemainingColumn(), console=self._console, transient=True,
        ) as bar:  # fmt: skip
            yield _Bars(model, bar).report

    def pulled(self, model: str, folder: Path, seconds: float, *, present: bool) -> None:
        what = "already there" if present else f"pulled in {seconds:.1f} s"
        self._print(f"{model}: {what}, {folder}")

    def skipped(self, model: str, message: str, hint: str) -> None:
        self._print(f"{model}: skipped. {_sentence(message, hint)}")

    def failed(self, model: str, message: str, hint: str) -> None:
        print(f"{model}: {message}", file=sys.stderr)
        if hint:
            print(f"  {hint}", file=sys.stderr)

    def unservable(self, model: str, message: str, hint: str) -> None:
        text = f"{model}: this machine cannot serve it: {_sentence(message, hint)}"
        print(text, file=sys.stderr)

    def without_weights(self, model: str, engine: str) -> None:
        self._print(f"{model}: no weights to pull with engine {engine}")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


class JsonOutput:
    """For programs: JSON lines on standard output, errors too."""

    @contextmanager
    def progress(self, model: str) -> Iterator[Report]:
        yield _JsonProgress(model).report

    def pulled(self, model: str, folder: Path, seconds: float, *, present: bool) -> None:
        event = "present" if present else "pulled"
        print_json(event, model=model, folder=str(folder.absolute()), seconds=round(seconds, 1))

    def skipped(self, model: str, message: str, hint: str) -> None:
        print_json("skipped", model=model, message=message, hint=hint)

    def failed(self, model: str, message: str, hint: str) -> None:
        print_json("failed", model=model, message=message, hint=hint)

    def unservable(self, model: str, message: str, hint: str) -> None:
        print_json("unservable", model=model, message=message, hint=hint)

    def without_weights(self, model: str, engine: str) -> None:
        print_json("without_weights", model=model, engine=engine)


def print_json(event: str, **fields: Any) -> None:
    """One event as a line."""
    print(json.dumps({"event": event, **fields}), flush=True)


class _Bars:
    """A bar for each stage."""

    def __init__(self, model: str, bar: Progress) -> None:
        self._model = model
        self._bar = bar
        self._tasks: dict[PrepareStage, TaskID] = {}

    def report(self, stage: PrepareStage, done: int, total: int | None) -> None:
        if stage not in self._tasks:
            label = "" if stage is PrepareStage.FETCHING else f"{stage.value.capitalize()} "
            self._tasks[stage] = self._bar.add_task(f"{label}{self._model}", total=None)
        self._bar.update(self._tasks[stage], completed=done, total=total)


class _Lines:
    """A line at the start of each stage and every few seconds, for logs."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._stage: PrepareStage | None = None
        self._printed_at = 0.0

    def report(self, stage: PrepareStage, done: int, total: int | None) -> None:
        if stage is not self._stage:
            self._stage, self._printed_at = stage, time.monotonic()
            print(f"{self._model}: {VERBS[stage]}", flush=True)
        elif time.monotonic() - self._printed_at >= LINE_SECONDS:
            self._printed_at = time.monotonic()
            of = f" of {total / 1e6:.0f}" if total else ""
            print(f"{self._model}: {VERBS[stage]}, {done / 1e6:.0f}{of} MB", flush=True)


class _JsonProgress:
    """An event at the start and end of each stage and twice a second."""

    def __init__(self, model: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._clock = clock
        self._stage: PrepareStage | None = None
        self._first = (0.0, 0)
        self._printed_at = 0.0

    def report(self, stage: PrepareStage, done: int, total: int | None) -> None:
        now = self._clock()
        if stage is not self._stage:
            self._stage, self._first = stage, (now, done)
        elif now - self._printed_at < JSON_SECONDS and done != total:
            return
        self._printed_at = now
        elapsed = now - self._first[0]
        rate = round((done - self._first[1]) / elapsed) if elapsed > 0 else None
        print_json(
            "progress", model=self._model, stage=stage.value, done_bytes=done, total_bytes=total,
            bytes_per_second=rate,
        )  # fmt: skip


def _sentence(message: str, hint: str) -> str:
    return f"{message} {hint}".rstrip()
