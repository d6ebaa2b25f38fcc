"""Pulls models one after the other and shows how far it is: a bar on a terminal, lines elsewhere.

Called by `modelfleet pull`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fleet_contract.spec import Engine, ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch, is_there
from fleet_weights.store import Store

LINE_SECONDS = 5.0
NO_WEIGHTS = frozenset({Engine.REMOTE, Engine.CONTAINER})
"""Engines whose weights are somebody else's business."""


def pull_all(specs: Sequence[ModelSpec], store: Store, environ: Mapping[str, str]) -> list[str]:
    """Pull every model, saying how it goes; the ids of those that failed."""
    console = Console()
    failed: list[str] = []
    for spec in specs:
        try:
            if spec.engine in NO_WEIGHTS and not (spec.source or spec.weights):
                console.print(f"{spec.model}: engine {spec.engine.value} has no weights of ours")
                continue
            _pull(spec, store, environ, console)
        except WeightsError as error:
            failed.append(spec.model)
            print(f"{spec.model}: {error.message}", file=sys.stderr)
            if error.hint:
                print(f"  {error.hint}", file=sys.stderr)
    return failed


def _pull(spec: ModelSpec, store: Store, environ: Mapping[str, str], console: Console) -> None:
    if is_there(spec, store):
        _say(console, spec, "is there", fetch(spec, store, environ=environ))
        return
    started = time.monotonic()
    show = _with_bar if console.is_terminal else _with_lines
    path = show(spec, store, environ, console)
    _say(console, spec, f"pulled in {time.monotonic() - started:.1f} s", path)


def _say(console: Console, spec: ModelSpec, what: str, path: Path) -> None:
    console.print(f"{spec.model}: {what}, {path}", soft_wrap=True, highlight=False, markup=False)


def _with_bar(spec: ModelSpec, store: Store, environ: Mapping[str, str], console: Console) -> Path:
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
        TransferSpeedColumn(), TimeRemainingColumn(), console=console, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(spec.model, total=None)
        return fetch(
            spec, store, lambda done, total: bar.update(task, completed=done, total=total),
            environ=environ,
        )  # fmt: skip


def _with_lines(
    spec: ModelSpec, store: Store, environ: Mapping[str, str], console: Console
) -> Path:
    """A line now and then, for logs and continuous integration."""
    said_at = time.monotonic()

    def progress(done: int, total: int | None) -> None:
        nonlocal said_at
        if time.monotonic() - said_at < LINE_SECONDS:
            return
        said_at = time.monotonic()
        of = f" of {total / 1e6:.0f}" if total else ""
        print(f"{spec.model}: {done / 1e6:.0f}{of} MB", flush=True)

    print(f"{spec.model}: pulling", flush=True)
    return fetch(spec, store, progress, environ=environ)
