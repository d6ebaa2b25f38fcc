"""The folder `run/PORT` of a fleet, for commands that run in the folder where it was started."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet_cli.selection import environment
from fleet_contract.settings import BY_NAME

ROOT = Path("run")
Entry = dict[str, Any]
"""A model in the routes, as `fleet_local.routes_file` writes it."""
Port = Annotated[
    int | None, typer.Option(help="Port of the fleet's router (PORT).", min=1, max=65535)
]


def folder_of(port: int | None) -> Path:
    """The folder of the fleet at `port`, None for PORT, also of `.env`, as `modelfleet up` reads
    it. Raises ValueError if that is no port."""
    return ROOT / str(BY_NAME["PORT"].read(environment()) if port is None else port)


def entries_of(folder: Path) -> list[Entry]:
    """The models of the fleet. Raises ValueError without one."""
    try:
        entries: list[Entry] = json.loads((folder / "routes.json").read_text())["models"]
    except (OSError, KeyError, TypeError):
        raise ValueError(
            f"{folder} has no fleet: start it here with `modelfleet up`, or name its --port"
        ) from None
    return entries


def entry_of(entries: Iterable[Entry], model: str) -> Entry:
    """The entry of a model by id or alias. Raises ValueError for another."""
    listed = list(entries)
    for entry in listed:
        if model in (entry["spec"]["model"], *entry["spec"].get("aliases", [])):
            return entry
    known = ", ".join(entry["spec"]["model"] for entry in listed)
    raise ValueError(f"the fleet has no model {model!r}; its models: {known}")
