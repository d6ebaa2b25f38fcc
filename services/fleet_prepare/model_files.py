"""A model's files: their names, and the small JSON documents the choice of an engine depends on.

Made from a folder on disk or, before anything is fetched, from the listing of a repository.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_prepare import gguf_head
from fleet_weights import gguf_names

CONFIG = "config.json"
MODULES = "modules.json"
MAX_DOCUMENT_BYTES = 32 << 20
MAX_NAMES = 10_000
DEPTH = 2
"""Levels of folders below the model's own that are listed."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`names` are paths below the model's folder, `documents` parsed JSON by path.

    `gguf` is `general.architecture` of the only GGUF file. `on_disk` means that what
    `documents` and `gguf` lack does not exist; before a fetch it may be unknown.
    """

    names: frozenset[str]
    documents: Mapping[str, Any] = field(default_factory=dict)
    gguf: str | None = None
    on_disk: bool = True

    @property
    def config(self) -> Mapping[str, Any]:
        """config.json; empty if there is none or it has not been read yet."""
        return self.object(CONFIG)

    @property
    def known(self) -> bool:
        """Whether config.json, where there is one, has been read."""
        return self.on_disk or CONFIG not in self.names or CONFIG in self.documents

    def object(self, path: str) -> Mapping[str, Any]:
        """The JSON object at `path`; empty if there is none."""
        found = self.documents.get(path)
        return found if isinstance(found, Mapping) else {}

    @property
    def modules(self) -> list[Mapping[str, Any]]:
        """The modules of a sentence-transformers folder, in order."""
        return _modules(self.documents.get(MODULES))

    def ggufs(self) -> list[str]:
        """Models in GGUF directly in the model's folder, by their first files."""
        return gguf_names.models([name for name in self.names if "/" not in name])

    @property
    def projector(self) -> str | None:
        """The GGUF file of an image projector directly in the model's folder."""
        return gguf_names.projector([name for name in self.names if "/" not in name])


def from_folder(folder: Path) -> ModelFiles:
    """List a folder, or the one file that `folder` may be; reads JSON and GGUF headers.

    A document that is not valid JSON is left out.
    """
    if folder.is_file():
        beside = [path.name for path in folder.parent.glob("*.gguf")]
        projector = gguf_names.projector(beside) if folder.suffix == ".gguf" else None
        alone = {folder.name} if projector is None else {folder.name, projector}
        return ModelFiles(frozenset(alone), gguf=_architecture(folder))
    names = frozenset(_walk(folder))
    documents: dict[str, Any] = {}
    for path in wanted_documents(names, documents):
        if (parsed := _read(folder / path)) is not None:
            documents[path] = parsed
    for path in module_documents(names, documents):
        if (parsed := _read(folder / path)) is not None:
            documents[path] = parsed
    ggufs = gguf_names.models([name for name in names if "/" not in name])
    gguf = _architecture(folder / ggufs[0]) if len(ggufs) == 1 else None
    return ModelFiles(names, documents, gguf)


def wanted_documents(names: frozenset[str], documents: Mapping[str, Any]) -> list[str]:
    """Documents to read first, of those in `names` that `documents` lacks."""
    return [path for path in (CONFIG, MODULES) if path in names and path not in documents]


def module_documents(names: frozenset[str], documents: Mapping[str, Any]) -> list[str]:
    """config.json of each module that modules.json names."""
    paths = [f"{module.get('path')}/{CONFIG}" for module in _modules(documents.get(MODULES))]
    return [path for path in paths if path in names and path not in documents]


def _modules(parsed: Any) -> list[Mapping[str, Any]]:
    if not isinstance(parsed, list):
        return []
    return [module for module in parsed if isinstance(module, Mapping)]


def _walk(root: Path) -> list[str]:
    """Names of files that are not hidden; bounded, since a source may be any folder."""
    found: list[str] = []
    for current, folders, files in os.walk(root, followlinks=False):
        relative = Path(current).relative_to(root)
        if len(relative.parts) >= DEPTH:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = "" if relative == Path() else f"{relative.as_posix()}/"
        found += [f"{prefix}{name}" for name in sorted(files) if not name.startswith(".")]
        if len(found) > MAX_NAMES:
            return found[:MAX_NAMES]
    return found


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _architecture(path: Path) -> str | None:
    name = (gguf_head.metadata(path) or {}).get("general.architecture")
    return name if isinstance(name, str) else None
