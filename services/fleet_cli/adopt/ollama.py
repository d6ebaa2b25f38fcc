"""Models in a folder of Ollama.

Layout: `manifests/<host>/<namespace>/<name>/<tag>` are image manifests (OCI) in JSON, whose layers
are the files `blobs/sha256-<digest>`; media types as in github.com/ollama/ollama, server/images.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet_cli.adopt.found import Found, Report, task_of_gguf
from fleet_contract.spec import Task

MODEL = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"
ADAPTER = "application/vnd.ollama.image.adapter"
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
MANIFEST_BYTES = 1 << 20
DEFAULT_NAMESPACE = "library"


def read(folder: Path) -> Report:
    """The models of a folder such as `~/.ollama/models`. Raises ValueError if it is none."""
    root = folder / "manifests" if (folder / "manifests").is_dir() else folder / "models/manifests"
    if not root.is_dir():
        raise ValueError(f"{folder} has no folder `manifests`: it is no folder of Ollama")
    report = Report()
    for path in sorted(each for each in root.rglob("*") if each.is_file()):
        name = _name(path.relative_to(root).parts)
        try:
            layers = list(_layers(path, root.parent / "blobs"))
            report.found.append(_found(name, layers))
        except (OSError, ValueError, RecursionError) as error:
            report.left_out.append(f"{name}: {error}")
    return report


def _name(parts: tuple[str, ...]) -> str:
    """`library/llama3.2/latest` is `llama3.2`, another namespace or tag is kept."""
    namespace, *name, tag = parts[1:] if len(parts) > 2 else ("", *parts)
    whole = "/".join(name if namespace in (DEFAULT_NAMESPACE, "") else (namespace, *name))
    return whole if tag == "latest" else f"{whole}:{tag}"


def _layers(path: Path, blobs: Path) -> Iterator[tuple[str, Path]]:
    """Media types and files. Raises ValueError."""
    if path.stat().st_size > MANIFEST_BYTES:
        raise ValueError("its manifest is too large")
    document: Any = json.loads(path.read_text())
    layers = document.get("layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        raise ValueError("its manifest has no layers")
    for layer in layers:
        digest = DIGEST.fullmatch(str(layer.get("digest")) if isinstance(layer, dict) else "")
        if digest is not None:
            yield str(layer.get("mediaType")), blobs / f"sha256-{digest[1]}"


def _found(name: str, layers: list[tuple[str, Path]]) -> Found:
    of_type = {kind: [path for each, path in layers if each == kind] for kind, _ in layers}
    models = of_type.get(MODEL, [])
    if len(models) != 1:
        raise ValueError(f"it has {len(models)} files of weights")
    if of_type.get(ADAPTER):
        raise ValueError("it has an adapter, which `adapters` of a manifest names by its source")
    task = task_of_gguf(models[0])
    if task is None:
        raise ValueError("its weights are no GGUF file")
    links = {"model.gguf": models[0]}
    spec: dict[str, Any] = {"model": name, "task": task.value}
    if projectors := of_type.get(PROJECTOR):
        links["mmproj-model.gguf"] = projectors[0]
        spec |= {"vision": task is Task.CHAT, "engine": "llamacpp"}
    return Found(spec, links)
