"""A counting speech model behind the real app."""

from __future__ import annotations

from support.counting_speech import counting_model, make_server, make_wav, serve

__all__ = ["counting_model", "make_server", "make_wav", "serve"]
