"""The sequences that generate their next token in one pass, with a shared key/value cache."""

from __future__ import annotations

from typing import Any

import torch

from fleet_server.engines.torch.batch_cache import BatchCache, num_tokens
from fleet_server.engines.torch.runtime import tensor
from fleet_server.engines.torch.scheduler import StepLimits
from fleet_server.engines.torch.sequence import Sequence


class Batch:
    """The rows of a decoding pass; they are padded on the left.

    A model whose sequences cannot share a pass has one row at a time, with its own cache.
    """

    def __init__(self, device: torch.device, limits: StepLimits, *, shared: bool) -> None:
        self._device = device
        self._limits = limits
        self._shared = shared
        self._joined: list[Sequence] = []
        self.rows: list[Sequence] = []
        self.cache: Any = None

    @property
    def num_tokens(self) -> int:
        """Tokens in the cache, padding included."""
        return len(self.rows) * num_tokens(self.cache) if self.rows else 0

    @property
    def newest(self) -> Sequence:
        """The sequence that joined last."""
        return self._joined[-1]

    def join(self, row: Sequence) -> None:
        """Add a sequence after its prefill; its cache is copied into the batch's."""
        if not self._shared:
            self.cache = row.cache
        else:
            if self.cache is None:
                self.cache = BatchCache(self._limits.rows, self._limits.kv_tokens)
            self.cache.join(row.cache)
        self.rows.append(row)
        self._joined.append(row)
        row.release()

    def drop(self) -> None:
        """Remove rows that are over; the last row takes the place of each."""
        gone = {row for row in self.rows if row.over}
        if not gone:
            return
        for index in reversed(range(len(self.rows))):
            if self.rows[index] not in gone:
                continue
            if self._shared:
                self.cache.leave(index)
            self.rows[index] = self.rows[-1]
            self.rows.pop()
        self._joined = [row for row in self._joined if row not in gone]
        if not self.rows:
            self.cache = None

    def inputs(self) -> dict[str, Any]:
        """Arguments of the next pass beside the cache: ids and positions `[rows, 1]`, mask."""
        if self._shared:
            self.cache.reserve()
        return {
            "input_ids": tensor([[row.last_token] for row in self.rows], self._device),
            "position_ids": tensor([[row.position] for row in self.rows], self._device),
            "attention_mask": self._mask(),
        }

    def advance(self) -> None:
        """Move every row on by one token, after a pass."""
        if self._shared:
            self.cache.advance()
        for row in self.rows:
            row.position += 1

    def _mask(self) -> torch.Tensor | None:
        if not self._shared:
            return None
        padding = self.cache.padding
        if not any(padding):
            return None
        places = torch.arange(num_tokens(self.cache) + 1, device=self._device)
        return (places >= tensor(padding, self._device).unsqueeze(1)).long()
