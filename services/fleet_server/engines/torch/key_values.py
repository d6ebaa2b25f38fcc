"""Merges, shortens and filters transformers' key/value caches.

A cache holds keys and values `[rows, heads, tokens, head size]` for each layer. Rows of different
lengths are padded on the left, so that their newest tokens are aligned.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import DynamicCache


def num_tokens(cache: Any) -> int:
    """Tokens in the cache, padding included."""
    return int(cache.get_seq_length())


def joined(one: Any, other: Any) -> DynamicCache:
    """A new cache with the rows of both, the shorter one padded."""
    length = max(num_tokens(one), num_tokens(other))
    result = DynamicCache()
    for index, (first, second) in enumerate(zip(one.layers, other.layers, strict=True)):
        result.update(
            torch.cat([_padded(first.keys, length), _padded(second.keys, length)]),
            torch.cat([_padded(first.values, length), _padded(second.values, length)]),
            index,
        )
    return result


def thin(cache: Any, rows: list[int], first: int) -> None:
    """Keep the given rows, and the tokens from `first` on."""
    for layer in cache.layers:
        index = torch.tensor(rows, device=layer.keys.device)
        layer.keys = layer.keys[index, :, first:].contiguous()
        layer.values = layer.values[index, :, first:].contiguous()


def cut_back(cache: Any, length: int) -> None:
    """Keep the oldest `length` tokens: undoes a pass that failed in one of the layers."""
    for layer in cache.layers:
        layer.keys = layer.keys[:, :, :length]
        layer.values = layer.values[:, :, :length]


def _padded(states: torch.Tensor, length: int) -> torch.Tensor:
    return functional.pad(states, (0, 0, length - states.shape[2], 0))
