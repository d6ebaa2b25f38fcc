"""A converter written by the tests, and the hub's stand-in."""

from __future__ import annotations

from support.conversions import converter, hub, source, speech

__all__ = ["converter", "hub", "source", "speech"]
