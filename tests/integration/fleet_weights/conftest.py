"""Fixtures: failing file servers, and wheels."""

from __future__ import annotations

from support.file_server import fast_retries, make_wheel, new_server, no_proxy, server

__all__ = ["fast_retries", "make_wheel", "new_server", "no_proxy", "server"]
