"""An OpenAI-compatible server that answers well or badly."""

from __future__ import annotations

from support.openai_target import target

__all__ = ["target"]
