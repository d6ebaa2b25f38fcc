"""What stands in for the masks of a grammar and may have such masks itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class WrappedMasks:
    """`masks` are those of fleet_server.engines.guided.masks."""

    def __init__(self, masks: Any = None) -> None:
        self._masks = masks
        self._error: Exception | None = None

    @property
    def error(self) -> Exception | None:
        """Why no further token can be chosen."""
        failed: Exception | None = None if self._masks is None else self._masks.error
        return self._error or failed

    @error.setter
    def error(self, error: Exception) -> None:
        self._error = error

    def accept(self, token_ids: Sequence[int]) -> None:
        """Continue after these tokens."""
        if self._masks is not None:
            self._masks.accept(token_ids)
