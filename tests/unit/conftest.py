"""Web apps on real sockets of the loopback."""

from __future__ import annotations

from support.web import listen

__all__ = ["listen"]
