"""The file that tells the router where servers are; read by fleet_router.routing.file_source."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fleet_contract.spec import ModelSpec


def write(path: Path, entries: Iterable[tuple[ModelSpec, Sequence[str]]]) -> None:
    """Replace the file whole with models and the base addresses of their servers."""
    models = [
        {
            "spec": spec.to_wire(),
            "endpoints": [
                {"name": f"{slug(spec.model)}-{number}", "url": url}
                for number, url in enumerate(urls)
            ],
        }
        for spec, urls in entries
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps({"models": models}, indent=1))
    os.replace(new, path)


def slug(model: str) -> str:
    """A model id as a file's name: `org--name`."""
    return model.replace("/", "--").replace(":", "-")
