"""Stages of preparing a model's weights, as named in progress reports."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class PrepareStage(StrEnum):
    """What is being done to the weights."""

    FETCHING = "fetching"
    CONVERTING = "converting"


Report = Callable[[PrepareStage, int, int | None], None]
"""Receives the stage, its bytes done and its bytes in all (None while unknown)."""


def unreported(stage: PrepareStage, done: int, total: int | None) -> None:
    """A Report that nobody sees."""
