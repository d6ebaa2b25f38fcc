"""The size of the key/value cache in tokens."""

from __future__ import annotations

from fleet_server.engines.openvino.chat_facts import CacheShape
from fleet_server.engines.openvino.kv_cache import GIB, block_bytes, fit

SMOLLM2 = CacheShape(layers=30, heads=3, head_size=64)


def test_a_block_has_the_size_the_pipeline_reports() -> None:
    assert block_bytes(SMOLLM2, quantised=True) == 437_760
    assert block_bytes(SMOLLM2, quantised=False) == 1_474_560


def test_as_many_blocks_as_fit() -> None:
    cache = fit(SMOLLM2, 0.5, quantised=True)
    assert cache.blocks * 437_760 <= GIB // 2 < (cache.blocks + 1) * 437_760
    assert cache.tokens == cache.blocks * 32
    assert fit(SMOLLM2, 1e-9, quantised=True).blocks == 1
