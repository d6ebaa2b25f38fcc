"""A cache of the most recently used embeddings."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from fleet_server.protocols import Float32

MAX_KEY_LENGTH = 65_536
"""Maximum length of a cached input, in characters or ids: longer keys take more memory than they
are worth."""


@dataclass(frozen=True, slots=True)
class CachedVector:
    """A vector with all dimensions, and the number of tokens of its input."""

    vector: Float32
    tokens: int


class VectorCache:
    """An LRU cache of at most `size` vectors by their whole input; 0 disables it. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Hashable, CachedVector] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> CachedVector | None:
        """The vector of `key`, which becomes the most recently used."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: Hashable, vector: Float32, tokens: int) -> None:
        """Store a copy of the vector and evict the least recently used one if necessary."""
        if not self._size:
            return
        # A copy, since a row would keep the whole batch alive.
        entry = CachedVector(vector.copy(), tokens)
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
