"""Pulls models one after the other, with a progress bar or lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

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

from fleet_contract.spec import Engine, ModelSpec
from fleet_prepare import machine
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.preflight import preflight
from fleet_prepare.prepare import find, prepare
from fleet_prepare.stage import PrepareStage, Report
from fleet_weights.adapters import companions
from fleet_weights.errors import NoRoom, WeightsError
from fleet_weights.eviction import release
from fleet_weights.fetch import fetch, is_there
from fleet_weights.store import Store

LINE_SECONDS = 5.0
NO_WEIGHTS = frozenset({Engine.REMOTE, Engine.CONTAINER})
"""Engines whose servers may have weights of their own."""
VERBS = {PrepareStage.FETCHING: "pulling", PrepareStage.CONVERTING: "converting"}
T = TypeVar("T")


def pull_all(
    specs: Sequence[ModelSpec],
    store: Store,
    environ: Mapping[str, str],
    *,
    force: bool = False,
    convert: bool = True,
) -> list[str]:
    """Pull every model, and convert weights that no engine of this machine can load directly.

    A model that this machine cannot serve fails before it is fetched; with `force` it is fetched
    without conversion. One that does not fit into a store that evicts nothing is skipped. Prints
    progress and errors; the ids of models that failed.
    """
    console = Console()
    here = machine.here(environ)
    failed: list[str] = []
    for spec in specs:
        if spec.engine in NO_WEIGHTS and not (spec.source or spec.weights):
            console.print(f"{spec.model}: no weights to pull with engine {spec.engine.value}")
            continue
        try:
            one = _Pull(spec, store, environ, console)
            if convert and here.has_engines and not _elsewhere(spec):
                one.prepare(here, force=force)
            else:
                one.fetch()
        except NoRoom as error:
            console.print(f"{spec.model}: skipped. {error}", soft_wrap=True, highlight=False,
                          markup=False)  # fmt: skip
        except (CannotServe, WeightsError) as error:
            failed.append(spec.model)
            _print_error(spec, error)
        finally:
            if not store.evicts:  # a server may need its room while the others are pulled
                for each in _with_companions(spec):
                    release(each, store)
    return failed


def _elsewhere(spec: ModelSpec) -> bool:
    """Whether the model runs in another image, whose needs are not known here."""
    return spec.is_foreign or spec.engine in NO_WEIGHTS


def _with_companions(spec: ModelSpec) -> list[ModelSpec]:
    """What is fetched for a model: itself first."""
    return [spec, *companions(spec)]


class _Pull:
    """The pull of one model."""

    def __init__(
        self, spec: ModelSpec, store: Store, environ: Mapping[str, str], console: Console
    ) -> None:
        self._spec = spec
        self._store = store
        self._environ = environ
        self._console = console
        self._began = time.monotonic()
        self._was_there = all(is_there(each, store) for each in _with_companions(spec))

    def prepare(self, here: Machine, *, force: bool) -> None:
        """Fetch and convert.

        Raises WeightsError, and without `force` CannotServe before anything is fetched.
        """
        try:
            if (found := find(self._spec, self._store, here)) is not None:
                self._print("already there", found.folder)
                return
            decided = preflight(self._spec, self._store, here, self._environ)
            prepared = self._with_progress(
                lambda report: prepare(
                    self._spec, self._store, here, report, environ=self._environ, decided=decided
                )
            )
            self._print(f"pulled in {time.monotonic() - self._began:.1f} s", prepared.folder)
        except CannotServe as error:
            if not force and not is_there(self._spec, self._store):
                raise CannotServe(
                    error.message, f"{error.hint} `--force` fetches it for another machine."
                ) from error
            self.fetch()
            print(f"{self._spec.model}: this machine cannot serve it: {error}", file=sys.stderr)

    def fetch(self) -> None:
        """Fetch without conversion. Raises WeightsError."""
        path = self._with_progress(self._fetch)
        if self._was_there:
            self._print("already there", path)
        else:
            self._print(f"pulled in {time.monotonic() - self._began:.1f} s", path)

    def _fetch(self, report: Report) -> Path:
        progress = partial(report, PrepareStage.FETCHING)
        path, *_ = [fetch(each, self._store, progress, environ=self._environ)
                    for each in _with_companions(self._spec)]  # fmt: skip
        return path

    def _with_progress(self, work: Callable[[Report], T]) -> T:
        if not self._console.is_terminal:
            return work(_Lines(self._spec.model).report)
        with Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
            TransferSpeedColumn(), TimeRemainingColumn(), console=self._console, transient=True,
        ) as bar:  # fmt: skip
            return work(_Bars(self._spec.model, bar).report)

    def _print(self, what: str, path: Path) -> None:
        self._console.print(
            f"{self._spec.model}: {what}, {path}", soft_wrap=True, highlight=False, markup=False
        )


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


def _print_error(spec: ModelSpec, error: CannotServe | WeightsError) -> None:
    print(f"{spec.model}: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
