"""The inputs of one request, which of them have not run yet, and the results so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class Job:
    """Created on the event loop, processed by the batcher's threads.

    `lengths` are those of the inputs that have not run, longest first.
    """

    def __init__(
        self,
        batch: Sequence[Sequence[int]],
        loop: asyncio.AbstractEventLoop,
        caller: str = "",
    ) -> None:
        self.caller = caller
        self.loop = loop
        self.future: asyncio.Future[Rows] = loop.create_future()
        self.arrived = time.monotonic()
        self._batch = batch
        self._order = sorted(range(len(batch)), key=lambda item: -len(batch[item]))
        self.lengths = [len(batch[item]) for item in self._order]
        self._missing = len(batch)
        self._rows: Rows | None = None

    def take(self, positions: Sequence[int]) -> list[int]:
        """Remove the inputs at these positions of `lengths`; returns their indices in the batch."""
        items = [self._order[position] for position in positions]
        for position in sorted(positions, reverse=True):
            del self._order[position]
            del self.lengths[position]
        return items

    def tokens(self, item: int) -> Sequence[int]:
        return self._batch[item]

    def fill(self, item: int, row: Rows) -> None:
        """Store the result of an input."""
        if self._rows is None:
            self._rows = np.empty((len(self._batch), *row.shape), dtype=np.float32)
        self._rows[item] = row
        self._missing -= 1

    @property
    def is_done(self) -> bool:
        return self._missing == 0

    def resolve(self, error: BaseException | None) -> None:
        """Set the future's result or exception; on the event loop."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            rows: Any = self._rows
            self.future.set_result(rows)
