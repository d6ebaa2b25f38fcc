"""Settings, catalog and observed states."""

from __future__ import annotations

from support.operator_objects import observe, settings, sources

__all__ = ["observe", "settings", "sources"]
