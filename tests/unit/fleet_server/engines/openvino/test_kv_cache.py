"""The size of the key/value cache in tokens."""

from __future__ import annotations

from typing import Any

from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import GIB
from fleet_server.engines.openvino.chat_facts import CacheShape
from fleet_server.engines.openvino.kv_cache import KvCache, block_bytes, fit

SMOLLM2 = CacheShape(layers=30, heads=3, head_size=64)


def cache(context: int | None = 8192, sequences: int = 32, **fields: Any) -> KvCache:
    spec = ModelSpec.model_validate({"model": "m", "cache": fields})
    return fit(SMOLLM2, spec, sequences, context)


def test_a_block_has_the_size_the_pipeline_reports() -> None:
    assert block_bytes(SMOLLM2, quantised=True) == 437_760
    assert block_bytes(SMOLLM2, quantised=False) == 1_474_560


def test_as_many_blocks_as_fit() -> None:
    half = cache(kvGib=0.5)
    assert half.blocks * 437_760 <= GIB // 2 < (half.blocks + 1) * 437_760
    assert half.tokens == half.blocks * 32
    assert cache(kvGib=1e-9).blocks == 1
    assert half.bytes_of(33) == 2 * 437_760
    assert half.bytes_of(10**9) == half.blocks * 437_760


def test_by_default_the_cache_holds_what_requests_need_at_most() -> None:
    assert cache().tokens == 2 * 8192
    assert cache(2048).tokens == 32 * 512
    assert cache(2048, sequences=4).tokens == 2 * 2048
    assert cache(131_072) == cache(kvGib=1)
    assert cache(None) == cache(kvGib=1)
