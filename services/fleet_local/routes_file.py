"""The routes file: models and the addresses of their servers, as JSON for the router.

Format: `fleet_router.routing.file_source`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fleet_contract.spec import ModelSpec


def write(path: Path, entries: Iterable[tuple[ModelSpec, Mapping[str, str]]]) -> None:
    """Replace the file atomically. Each entry is a spec and its servers' base addresses by name."""
    models = [
        {
            "spec": spec.to_wire(),
            "endpoints": [{"name": name, "url": url} for name, url in servers.items()],
        }
        for spec, servers in entries
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps({"models": models}, indent=1))
    os.replace(new, path)


def server_names(model: str, count: int) -> list[str]:
    """Names of a model's servers in headers, metrics and log files: `org--name`, with `-1`, `-2`
    and so on where there are several."""
    name = model.replace("/", "--").replace(":", "-")
    return [name] * count if count < 2 else [f"{name}-{number}" for number in range(1, count + 1)]
