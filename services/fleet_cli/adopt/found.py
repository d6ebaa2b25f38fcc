"""A model that another tool holds, and what was learned about it from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_contract.spec import Task
from fleet_prepare import gguf_head

ENCODERS = (
    "bert",
    "nomic-bert",
    "nomic-bert-moe",
    "jina-bert-v2",
    "modern-bert",
    "gemma-embedding",
)
"""`general.architecture` of GGUF files that embed texts; other architectures generate them."""


@dataclass(frozen=True, slots=True)
class Found:
    """`spec` has the fields of a manifest; `links` are files to link, by name, into the folder that
    `source` then names."""

    spec: Mapping[str, Any]
    links: Mapping[str, Path] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What was found, and what was left out with the reasons."""

    found: list[Found] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def task_of_gguf(path: Path) -> Task | None:
    """The task of a GGUF file, None if it is none."""
    architecture = (gguf_head.metadata(path) or {}).get("general.architecture")
    if not isinstance(architecture, str):
        return None
    return Task.EMBEDDING if architecture in ENCODERS else Task.CHAT
