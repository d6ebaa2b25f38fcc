"""The key/value cache of a batch: a buffer for each layer that rows join and leave.

A buffer holds keys or values `[rows, heads, places, head size]`. All rows have their newest token
at the same place, so that a pass appends with one copy, and sees the window from the first token of
the longest row to the end. A row that joins is copied to its place in the buffer, one that leaves
is replaced by the last one; the others stay where they are. All rows are copied, to new buffers,
only when the buffer is too small or the window has reached its end. The spare places grow with the
window, so that this happens less often the more there is to copy.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

SPARE = 64
"""Minimum number of unused places in new buffers."""
LEFT = 4
"""The part of the unused places that is left of the window, for rows that are longer: 1 / LEFT."""


def num_tokens(cache: Any) -> int:
    """Tokens in the cache, padding included."""
    return int(cache.get_seq_length())


class BatchLayer(DynamicLayer):  # type: ignore[misc]
    """The buffers of a layer; their shape and the window are those of `owner`."""

    def __init__(self, owner: BatchCache, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.is_initialized = True
        self._owner = owner

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append a token to each row; views of the window."""
        rows, begin, end = self._owner.rows, self._owner.begin, self._owner.end
        self.keys[:rows, :, end : end + 1] = key_states
        self.values[:rows, :, end : end + 1] = value_states
        return self.keys[:rows, :, begin : end + 1], self.values[:rows, :, begin : end + 1]

    def get_seq_length(self) -> int:
        """Tokens of a row before the pass, padding included."""
        return self._owner.end - self._owner.begin


class BatchCache(Cache):  # type: ignore[misc]
    """`max_rows` rows and `max_places` places in all rows together bound the size of buffers, if a
    row does not need more on its own.

    A pass needs a place for its tokens (`reserve`), which belong to the cache after `advance`.
    """

    def __init__(self, max_rows: int, max_places: int) -> None:
        super().__init__(layers=[])
        self.layers: list[Any] = []
        self._max_rows = max_rows
        self._max_places = max_places
        self._starts: list[int] = []
        self._capacity = (0, 0)
        self.end = 0
        """The place of the next token."""

    @property
    def rows(self) -> int:
        return len(self._starts)

    @property
    def begin(self) -> int:
        """The place of the first token of the longest row."""
        return min(self._starts, default=self.end)

    @property
    def padding(self) -> list[int]:
        """Places before the first token of each row."""
        return [start - self.begin for start in self._starts]

    def join(self, cache: Any) -> None:
        """Add a row: a copy of `cache`, of one sequence."""
        length = num_tokens(cache)
        if self.rows == self._capacity[0] or length > self.end:
            window = max(length, self.end - self.begin)
            self._move(cache.layers, self.rows + 1, window)
        row, old, start = self.rows, self.begin, self.end - length
        begin = min(old, start) if self.rows else start
        for layer, given in zip(self.layers, cache.layers, strict=True):
            for buffer, states in ((layer.keys, given.keys), (layer.values, given.values)):
                buffer[:row, :, begin:old] = 0
                buffer[row, :, begin:start] = 0
                buffer[row, :, start : self.end] = states[0]
        self._starts.append(start)

    def leave(self, row: int) -> None:
        """Remove a row; the last one gets its number."""
        last, begin = self.rows - 1, self.begin
        if row != last:
            for layer in self.layers:
                for buffer in (layer.keys, layer.values):
                    buffer[row, :, begin : self.end] = buffer[last, :, begin : self.end]
        self._starts[row] = self._starts[last]
        self._starts.pop()

    def reserve(self) -> None:
        """Have a place for the next token of every row."""
        if self.end == self._capacity[1]:
            self._move(self.layers, self.rows, self.end - self.begin)

    def advance(self) -> None:
        """The tokens of a pass belong to the cache now."""
        self.end += 1

    def _move(self, like: list[Any], rows: int, window: int) -> None:
        """Copy the rows to new buffers for `rows` rows of `window` tokens, and for more; `like` are
        layers with their shapes and types. Nothing has changed if there is not enough memory."""
        spare = max(SPARE, min(window, self._max_places // rows - window))
        places = window + spare
        most = max(rows, min(2 * rows, self._max_rows, self._max_places // places))
        found = [
            [
                states.new_empty((most, states.shape[1], places, states.shape[3]))
                for states in (layer.keys, layer.values)
            ]
            for layer in like
        ]
        end = spare // LEFT + window
        old = slice(self.begin, self.end)
        new = slice(end - (self.end - self.begin), end)
        for layer, (keys, values) in zip(self.layers, found, strict=bool(self.layers)):
            keys[: self.rows, :, new] = layer.keys[: self.rows, :, old]
            values[: self.rows, :, new] = layer.values[: self.rows, :, old]
        self.layers = [BatchLayer(self, keys, values) for keys, values in found]
        self._starts = [start + end - self.end for start in self._starts]
        self._capacity = (most, places)
        self.end = end
