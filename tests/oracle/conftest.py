"""Fixtures: tiny random chat models, computed with one thread."""

from __future__ import annotations

from support.tiny_checkpoints import one_thread, tiny_chat

__all__ = ["one_thread", "tiny_chat"]
