"""Pause of one InferenceModel: its objects stay as they are, its status is still written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fleet_operator.names import ANNOTATION_PAUSED

PAUSED = "Paused"
"""Condition and reason of a paused model."""


class Pause(NamedTuple):
    """`pending`: the spec has changes that are not applied yet."""

    pending: bool

    @property
    def message(self) -> str:
        """For people."""
        text = f"The annotation {ANNOTATION_PAUSED} keeps the operator from changing its objects"
        return f"{text}; the spec has changes that are not applied." if self.pending else f"{text}."


def is_paused(model: Mapping[str, Any]) -> bool:
    """Whether the annotation is set, to anything but `false`: a typo must not end a pause."""
    annotations: dict[str, Any] = model["metadata"].get("annotations") or {}
    value = annotations.get(ANNOTATION_PAUSED)
    return value is not None and str(value).strip().lower() != "false"
