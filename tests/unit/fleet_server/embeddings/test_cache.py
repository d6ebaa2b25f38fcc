"""The cache: exact, bounded, least recently used first out."""

from __future__ import annotations

import numpy as np

from fleet_server.embeddings.cache import VectorCache


def vector(value: float) -> np.ndarray:
    return np.full(3, value, dtype=np.float32)


def test_the_least_recently_used_entry_is_evicted() -> None:
    cache = VectorCache(2)
    cache.put("a", vector(1), 5)
    cache.put("b", vector(2), 6)
    assert cache.get("a") is not None
    cache.put("c", vector(3), 7)
    assert cache.get("b") is None
    kept = cache.get("a")
    assert kept is not None
    assert (kept.vector.tolist(), kept.tokens) == ([1, 1, 1], 5)
    assert len(cache) == 2


def test_size_zero_keeps_nothing() -> None:
    cache = VectorCache(0)
    cache.put("a", vector(1), 5)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_a_kept_vector_does_not_hold_its_batch() -> None:
    cache = VectorCache(1)
    batch = np.ones((1000, 3), dtype=np.float32)
    cache.put("a", batch[5], 1)
    batch[5] = 9
    kept = cache.get("a")
    assert kept is not None
    assert kept.vector.base is None
    assert kept.vector.tolist() == [1, 1, 1]
