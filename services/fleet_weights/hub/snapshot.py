"""Checks whether a snapshot of a hub cache has all files that are needed to load the model.

It may have only a part of the repository, such as the tokenizer or one format. A file that exists
is complete.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fleet_weights.errors import WeightsError
from fleet_weights.hub.selection import choose

INDEX = "model.safetensors.index.json"
TOKENIZERS = frozenset(
    {"tokenizer.json", "vocab.json", "tokenizer.model", "vocabulary.json", "vocabulary.txt",
     "openvino_tokenizer.xml"}
)  # fmt: skip
LARGEST_GRAPH = 64 << 20
"""Bytes up to which an ONNX file is searched for external data; a larger one holds its tensors."""
_LOCATION = re.compile(rb"\x0a\x08location\x12(.)", re.DOTALL)
"""The key of `TensorProto.external_data` in onnx.proto, and the length of its value."""


def is_complete(folder: Path) -> bool:
    """Whether weights, with all shards and external data, configuration and tokenizer exist."""
    names = frozenset(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    try:
        chosen = choose(sorted(names), str(folder))
    except WeightsError:
        return False
    if any(name.endswith(".gguf") for name in chosen):
        return True
    if "config.json" not in names or not any(Path(name).name in TOKENIZERS for name in chosen):
        return False
    if any(name.endswith(".safetensors") for name in chosen):
        return _has_shards(folder, names) and _has_modules(folder, names)
    graphs = [name for name in chosen if name.endswith(".onnx")]
    return all(_has_tensors(folder / name) for name in graphs) and _has_graph_data(chosen)


def _has_shards(folder: Path, names: Collection[str]) -> bool:
    if INDEX not in names:
        return True
    index = _json(folder / INDEX)
    try:
        return set(index["weight_map"].values()) <= set(names)
    except (TypeError, KeyError, AttributeError):
        return False


def _has_modules(folder: Path, names: Collection[str]) -> bool:
    """Whether the dense layers in modules.json of sentence-transformers exist."""
    if "modules.json" not in names:
        return True
    modules = _json(folder / "modules.json")
    try:
        dense = [each["path"] for each in modules if each["type"].endswith(".Dense")]
    except (TypeError, KeyError, AttributeError):
        return False
    return all(f"{path}/model.safetensors" in names for path in dense)


def _has_tensors(graph: Path) -> bool:
    """Whether the external data files of an ONNX graph exist."""
    size = graph.stat().st_size
    if not 0 < size <= LARGEST_GRAPH:
        return size > 0
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        named = {
            bytes(raw[found.end() : found.end() + found[1][0]]) for found in _LOCATION.finditer(raw)
        }
    return all((graph.parent / name.decode("utf-8", "replace")).is_file() for name in named)


def _has_graph_data(chosen: Collection[str]) -> bool:
    """Whether each graph of an OpenVINO IR has its weights."""
    graphs = [name for name in chosen if name.endswith("openvino_model.xml")]
    return all(name.removesuffix(".xml") + ".bin" in chosen for name in graphs)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
