"""Embeddings and rerank on OpenVINO: an encoder graph from safetensors, or the files a repo ships.

`EmbeddingEngine` and `RerankEngine` are imported when first asked for, so that `files.supports` can
be called without loading OpenVINO.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet_server.engines.openvino.encoder.embedding import EmbeddingEngine
    from fleet_server.engines.openvino.encoder.rerank import RerankEngine

__all__ = ["EmbeddingEngine", "RerankEngine"]

_HOMES = {"EmbeddingEngine": "embedding", "RerankEngine": "rerank"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
