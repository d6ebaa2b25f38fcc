"""`modelfleet load MODEL` and `unload MODEL`: start and stop models of a fleet of this folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet_cli.client.output import errors, safe
from fleet_cli.fleet_folder import Entry, Port, entries_of, entry_of, folder_of
from fleet_contract.status import Phase

load_app = typer.Typer(add_completion=False)
unload_app = typer.Typer(add_completion=False)

POLL_SECONDS = 0.2
TAKEN_SECONDS = 10.0
"""A fleet takes orders five times a second."""

Model = Annotated[str, typer.Argument(help="Id or alias of a model of the fleet.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is done.")]


@load_app.command()
def load(model: Model, port: Port = None, wait: Wait = True) -> None:
    """Fetch and start a model as its first request would, and wait until it is ready."""
    with errors("load"):
        order(model, port, wait=wait, is_load=True)


@unload_app.command()
def unload(model: Model, port: Port = None, wait: Wait = True) -> None:
    """Stop a model once it has no request in flight; its next request starts it again."""
    with errors("unload"):
        order(model, port, wait=wait, is_load=False)


def order(model: str, port: int | None, *, wait: bool, is_load: bool) -> None:
    """Give the order. Raises ValueError if it fails, and OSError."""
    from fleet_local.demand import orders

    folder = folder_of(port)
    identifier = found(folder, model)["spec"]["model"]
    until_taken(folder, orders.give(folder, orders.Order(identifier, load=is_load)))
    shown = ""
    while wait:
        entry = found(folder, identifier)
        if is_load and entry.get("phase") == Phase.FAILED:
            raise ValueError(f"{identifier} has failed: {entry.get('reason')}")
        if is_done(entry, is_load=is_load):
            return
        require_fleet(folder)
        if (text := entry.get("progress") or "") != shown:
            shown = text
            print(safe(f"{identifier}: {text}"), flush=True)
        time.sleep(POLL_SECONDS)


def is_done(entry: Mapping[str, Any], *, is_load: bool) -> bool:
    """Whether the model of an entry of the routes is ready, or has no servers."""
    from fleet_local.demand.progress import STOPPING

    progress = entry.get("progress")
    if is_load:
        return bool(entry["endpoints"]) and not progress
    # Its weights may be on their way, which nothing stops.
    return entry.get("phase") in (Phase.SCALED_TO_ZERO, Phase.FAILED) and progress != STOPPING


def require_fleet(folder: Path) -> None:
    """Raises ValueError if no fleet runs with its files in `folder`."""
    from fleet_local.run_lock import is_locked

    if not is_locked(folder):
        raise ValueError(f"the fleet of {folder} does not run")


def until_taken(folder: Path, path: Path) -> None:
    """Wait until the fleet has taken the order in the file `path`. Raises ValueError if it does
    not; the order is deleted then."""
    deadline = time.monotonic() + TAKEN_SECONDS
    try:
        while path.exists():
            require_fleet(folder)
            if time.monotonic() > deadline:
                raise ValueError(f"the fleet of {folder} still starts: try again when it is ready")
            time.sleep(POLL_SECONDS)
    except BaseException:  # Ctrl-C too: it would be obeyed later
        path.unlink(missing_ok=True)
        raise
    time.sleep(2 * POLL_SECONDS)  # the routes follow the order


def found(folder: Path, model: str) -> Entry:
    """The entry of a model that can be started, in the routes of the fleet. Raises ValueError
    without one."""
    entry = entry_of(entries_of(folder), model)
    spec = entry["spec"]
    if spec.get("stopped") or spec.get("engine") == "remote":
        raise ValueError(f"{spec['model']} is stopped or remote")
    return entry
