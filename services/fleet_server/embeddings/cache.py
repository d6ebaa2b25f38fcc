"""The most recently used embeddings, kept exactly; asked by the embedding service."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from fleet_server.protocols import Float32

MAX_KEY_LENGTH = 65_536
"""Characters or ids of a longer input would cost more memory than its vector saves time."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A vector of full size and the number of tokens it was computed from."""

    vector: Float32
    tokens: int


class VectorCache:
    """At most `size` vectors by their whole input; 0 keeps none. Safe in several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Kept | None:
        """The vector of `key`, now the most recently used."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, vector: Float32, tokens: int) -> None:
        """Keep a copy of the vector; the least recently used one goes."""
        if not self._size:
            return
        kept = Kept(vector.copy(), tokens)
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
