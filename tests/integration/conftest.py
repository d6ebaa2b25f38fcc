"""Fixtures for web apps on loopback sockets."""

from __future__ import annotations

from support.web import listen

__all__ = ["listen"]
