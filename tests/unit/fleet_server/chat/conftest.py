"""A scripted chat model behind the real app."""

from __future__ import annotations

from support.scripted_chat import client_of, scripted, serve, until

__all__ = ["client_of", "scripted", "serve", "until"]
