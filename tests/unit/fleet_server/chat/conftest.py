"""A scripted chat model behind the real app."""

from __future__ import annotations

from support.scripted_chat import scripted, serve, until

__all__ = ["scripted", "serve", "until"]
