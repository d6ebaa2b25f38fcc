"""The sequences that generate their next token in one pass, with a shared key/value cache."""

from __future__ import annotations

from typing import Any

import torch

from fleet_server.engines.torch import key_values
from fleet_server.engines.torch.runtime import tensor
from fleet_server.engines.torch.sequence import Sequence


class Batch:
    """The rows of a decoding pass; they are padded on the left."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.rows: list[Sequence] = []
        self.cache: Any = None
        self._padding: list[int] = []

    @property
    def num_tokens(self) -> int:
        """Tokens in the cache, padding included."""
        return len(self.rows) * key_values.num_tokens(self.cache) if self.rows else 0

    def join(self, row: Sequence) -> None:
        """Add a sequence after its prefill; its cache is merged into the batch's."""
        if self.cache is None:
            self.cache, self._padding = row.cache, [0]
        else:
            mine, its = key_values.num_tokens(self.cache), key_values.num_tokens(row.cache)
            self.cache = key_values.joined(self.cache, row.cache)
            longest = max(mine, its)
            self._padding = [padding + longest - mine for padding in self._padding]
            self._padding.append(longest - its)
        self.rows.append(row)
        row.release()

    def drop(self) -> None:
        """Remove rows that are over, and the padding that all remaining rows share."""
        kept = [index for index, row in enumerate(self.rows) if not row.over]
        if len(kept) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in kept]
        padding = [self._padding[index] for index in kept]
        if not kept:
            self.cache, self._padding = None, []
            return
        first = min(padding)
        key_values.thin(self.cache, kept, first)
        self._padding = [each - first for each in padding]

    def inputs(self) -> dict[str, Any]:
        """Arguments of the next pass: ids and positions `[rows, 1]`, cache, mask."""
        return {
            "input_ids": tensor([[row.last_token] for row in self.rows], self._device),
            "position_ids": tensor([[row.position] for row in self.rows], self._device),
            "attention_mask": self._mask(),
            "cache": self.cache,
        }

    def advance(self) -> None:
        """Move every row on by one token, after a pass."""
        for row in self.rows:
            row.position += 1

    def _mask(self) -> torch.Tensor | None:
        if not any(self._padding):
            return None
        places = torch.arange(key_values.num_tokens(self.cache) + 1, device=self._device)
        return (places >= tensor(self._padding, self._device).unsqueeze(1)).long()
