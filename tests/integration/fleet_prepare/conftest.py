"""Fixtures: a test converter and a fake hub."""

from __future__ import annotations

from support.conversions import converter, hub, source, speech

__all__ = ["converter", "hub", "source", "speech"]
