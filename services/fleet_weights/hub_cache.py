"""Finds whole models in the cache other tools of the hub keep under HF_HOME, so that nothing is
downloaded twice.

Layout: huggingface.co/docs/huggingface_hub/guides/manage-cache. Only read, never written.
"""

from __future__ import annotations

import json
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_weights.address import Hub, parse


def find(spec: ModelSpec, root: Path) -> Path | None:
    """The snapshot of the spec's repository and revision, if it is complete."""
    if spec.source is None or spec.weights:
        return None
    address = parse(spec.source)
    if not isinstance(address, Hub) or address.path:
        return None
    repository = root / "hub" / f"models--{address.repo.replace('/', '--')}"
    reference = repository / "refs" / address.revision
    try:
        commit = reference.read_text().strip() if reference.is_file() else address.revision
    except OSError:
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if "/" not in commit and is_complete(snapshot) else None


def is_complete(snapshot: Path) -> bool:
    """Whether config and every safetensors file the model needs are there in full.

    The cache links a file into a snapshot only when it is whole, so being there is enough.
    """
    if not (snapshot / "config.json").is_file():
        return False
    index = snapshot / "model.safetensors.index.json"
    if not index.is_file():
        return (snapshot / "model.safetensors").is_file() and _has_tokenizer(snapshot)
    try:
        shards = set(json.loads(index.read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((snapshot / shard).is_file() for shard in shards) and _has_tokenizer(snapshot)


def _has_tokenizer(snapshot: Path) -> bool:
    return any((snapshot / name).is_file() for name in ("tokenizer.json", "vocab.json"))
