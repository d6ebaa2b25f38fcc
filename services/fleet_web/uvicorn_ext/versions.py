"""The uvicorn versions whose private state this folder was tested with."""

from __future__ import annotations

CHECKED = ("0.54.",)
"""Prefixes of versions; pyproject.toml has the same upper bound. To add one: install it, run
tests/unit/fleet_web and tests/unit/fleet_router."""


def is_checked(version: str) -> bool:
    """Whether the classes of this folder may be used with this version of uvicorn."""
    return version.startswith(CHECKED)
