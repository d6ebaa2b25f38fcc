"""Embeddings and rerank on OpenVINO, with graphs built from safetensors or shipped by a repo."""

from __future__ import annotations

from fleet_server.engines.openvino.encoder.embedding import EmbeddingEngine
from fleet_server.engines.openvino.encoder.rerank import RerankEngine

__all__ = ["EmbeddingEngine", "RerankEngine"]
