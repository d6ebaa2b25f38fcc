"""The stages of making a model's weights ready, as progress reports name them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Stage(StrEnum):
    """What is done to the weights."""

    FETCHING = "fetching"
    CONVERTING = "converting"


Report = Callable[[Stage, int, int | None], None]
"""Receives the stage, its bytes done and its bytes in all (None while unknown)."""
