"""An OpenAI-compatible server with valid or invalid responses."""

from __future__ import annotations

from support.openai_target import target

__all__ = ["target"]
