"""Divides long prompts, so that other prompts wait for a slice instead of the whole.

llama.cpp fills each pass with the prompts of its slots in the order of the slots, so that a long
one keeps the others out until it is computed. A slice is a request for no tokens: its part of the
prompt stays in the cache of a slot, which is taken for the next slice because it has the longest
common prefix. Between two slices the prompts of other slots are computed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT = ("lora",)
"""Fields of a request that its slices have too."""


class KnownPrompts:
    """The last prompts, as many as there are slots. Thread-safe."""

    def __init__(self, slots: int) -> None:
        self._prompts: deque[NDArray[np.int32]] = deque(maxlen=slots)
        self._lock = threading.Lock()

    def add(self, token_ids: Sequence[int]) -> int:
        """Add a prompt; the length of the longest prefix that it shares with another, which the
        cache may hold."""
        added = np.asarray(token_ids, np.int32)
        with self._lock:
            shared = max((_shared(added, known) for known in self._prompts), default=0)
            self._prompts.append(added)
        return shared


def slices(body: Mapping[str, Any], known: int, size: int) -> Iterator[dict[str, Any]]:
    """The requests before `body`, a request with a prompt of token ids.

    The first slice has `size` tokens more than the `known` prefix, since a shorter one would
    remove the rest of it from the cache.
    """
    prompt = body["prompt"]
    same = {name: body[name] for name in KEPT if name in body}
    for end in range(known + size, len(prompt), size):
        yield {"prompt": prompt[:end], "n_predict": 0, "cache_prompt": True, **same}


def _shared(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
