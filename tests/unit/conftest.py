"""Web apps on real sockets of the loopback, and the settings of property tests."""

from __future__ import annotations

from hypothesis import settings

from support.web import listen

__all__ = ["listen"]

# Without its limit of 200 ms for each example, which a busy machine exceeds.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
