"""The routes file: models and the addresses of their servers, as JSON for the router.

Format: `fleet_router.routing.file_source`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of a model's start: the duration of the last one in seconds, the progress of
    its start or stop, and the estimated seconds until it is ready."""

    cold_seconds: float | None = None
    progress: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A model and its servers' base addresses by name; without servers, `phase` and `reason` tell
    whether requests wait for one."""

    spec: ModelSpec
    servers: Mapping[str, str]
    phase: Phase | None = None
    reason: str = ""
    start: Start = Start()


def write(path: Path, entries: Iterable[RouteEntry], version: int = 0) -> None:
    """Replace the file atomically."""
    models = [
        {
            "spec": entry.spec.to_wire(),
            "endpoints": [{"name": name, "url": url} for name, url in entry.servers.items()],
            "phase": entry.phase,
            "reason": entry.reason,
            "coldSeconds": entry.start.cold_seconds,
            "progress": entry.start.progress,
            "secondsLeft": entry.start.seconds_left,
        }
        for entry in entries
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps({"version": version, "models": models}, indent=1))
    os.replace(new, path)


def server_names(model: str, count: int) -> list[str]:
    """Names of a model's servers in headers, metrics and log files: `org--name`, with `-1`, `-2`
    and so on where there are several."""
    name = model.replace("/", "--").replace(":", "-")
    return [name] * count if count < 2 else [f"{name}-{number}" for number in range(1, count + 1)]
