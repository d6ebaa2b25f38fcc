"""Fixtures: tiny random encoders on disk."""

from __future__ import annotations

from support.tiny_bert import encoder_tensors, tiny_encoder

__all__ = ["encoder_tensors", "tiny_encoder"]
