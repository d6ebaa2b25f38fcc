from __future__ import annotations

from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_prepare.gguf_head import Value
from fleet_server.engines.llamacpp.cache import KvCache, files_of
from fleet_server.load_error import LoadError

FOUND: dict[str, Value] = {
    "general.architecture": "llama", "llama.context_length": 8192, "llama.block_count": 30,
    "llama.attention.head_count": 9, "llama.attention.head_count_kv": 3,
    "llama.embedding_length": 576,
}  # fmt: skip
"""23,040 bytes per token in float16."""


def spec(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", **fields})


@pytest.mark.parametrize(
    ("fields", "at_once", "tokens", "context"),
    [
        ({}, 4, 32768, 8192),
        ({}, 16, 46592, 8192),
        ({"dtype": "float32"}, 16, 23296, 8192),
        ({"cache": {"kvGib": 0.1}}, 16, 4608, 4608),
        ({"contextLength": 1000}, 2, 2048, 1000),
        ({"cache": {"kvGib": 0.1, "type": "float16"}}, 16, 4608, 4608),
        ({"cache": {"kvGib": 0.1, "type": "q8_0"}}, 16, 8704, 8192),
        ({"cache": {"kvGib": 0.1, "type": "q4_0"}}, 16, 16384, 8192),
    ],
)
def test_the_cache_is_bounded(
    fields: dict[str, object], at_once: int, tokens: int, context: int
) -> None:
    assert KvCache.fit(FOUND, spec(**fields), at_once) == KvCache(tokens, context)


def test_a_draft_model_has_a_cache_of_as_many_tokens() -> None:
    limited = spec(cache={"kvGib": 0.1})
    assert KvCache.fit(FOUND, limited, 16, FOUND) == KvCache(2304, 2304)


def test_an_unknown_cache_holds_one_context() -> None:
    unknown = {"general.architecture": "x"}
    assert KvCache.fit(unknown, spec(contextLength=1000), 16) == KvCache(1024, 1000)


@pytest.mark.parametrize(
    ("fields", "at_once", "tokens", "context"),
    [
        ({}, 1, 8448, 8192),
        ({"contextLength": 1000}, 2, 2560, 1000),
        ({"cache": {"kvGib": 0.1}}, 16, 4608, 4575),
    ],
)
def test_a_context_leaves_room_for_guesses(
    fields: dict[str, object], at_once: int, tokens: int, context: int
) -> None:
    found = KvCache.fit(FOUND, spec(**fields), at_once, guesses=33)
    assert found == KvCache(tokens, context)
    recurrent = {**FOUND, "llama.attention.head_count": 0, "llama.attention.head_count_kv": 0}
    assert KvCache.fit(recurrent, spec(), 4, guesses=33) == KvCache(8448, 8192)


LARGE: dict[str, Value] = {
    "general.architecture": "deci", "deci.context_length": 131_072, "deci.block_count": 80,
    "deci.embedding_length": 8192,
}  # fmt: skip
HEADS, OF_KEYS = "deci.attention.head_count", "deci.attention.head_count_kv"
SIZES = {"deci.attention.key_length": 64, "deci.attention.value_length": 64}


@pytest.mark.parametrize(
    ("heads", "numbers"),
    [
        ({HEADS: 64, OF_KEYS: 8}, 80 * 8 * 2 * 128),
        ({HEADS: 64, OF_KEYS: (8,) * 20 + (0,) * 60}, 20 * 8 * 2 * 128),
        ({HEADS: (64,) * 40 + (0,) * 40, OF_KEYS: (8,) * 40 + (0,) * 40}, 40 * 8 * 2 * 128),
        ({HEADS: (0, 64), OF_KEYS: 8}, 80 * 8 * 2 * 128),
        ({HEADS: (64, 32), OF_KEYS: (16, 8)}, 24 * 2 * 256),
        ({HEADS: (64, 32)}, 96 * 2 * 256),
        ({HEADS: (64,) * 80, OF_KEYS: (8,) * 80, **SIZES}, 80 * 8 * 2 * 64),
        ({HEADS: 64, "deci.attention.key_length": 192}, 80 * 64 * (192 + 128)),
        ({}, 80 * 2 * 8192),
        ({OF_KEYS: (8,) * 80}, 80 * 2 * 8192),
        ({HEADS: ()}, 80 * 2 * 8192),
        ({HEADS: "64"}, 80 * 2 * 8192),
        ({HEADS: (64.0, -1)}, 80 * 2 * 8192),
    ],
)
def test_heads_of_each_layer_count(heads: dict[str, Value], numbers: int) -> None:
    found = KvCache.fit({**LARGE, **heads}, spec(cache={"kvGib": 1}), 1)
    tokens = min((1 << 30) // (2 * numbers) // 256 * 256, 131_072)
    assert found == KvCache(tokens, tokens)


@pytest.mark.parametrize("heads", [0, (0, 0, 0)])
def test_recurrent_layers_alone_hold_one_context(heads: Value) -> None:
    found = {**FOUND, "llama.attention.head_count": heads, "llama.attention.head_count_kv": heads}
    assert KvCache.fit(found, spec(), 4) == KvCache(8192, 8192)


def test_a_model_of_many_layers_costs_nothing() -> None:
    found = {**FOUND, "llama.block_count": (1 << 32) - 1}
    assert KvCache.fit(found, spec(), 4) == KvCache(256, 256)


def test_a_context_beyond_the_models_is_refused() -> None:
    with pytest.raises(LoadError, match="supports 8192"):
        KvCache.fit(FOUND, spec(contextLength=9000), 1)
    with pytest.raises(LoadError, match="no context length"):
        KvCache.fit({"general.architecture": "llama"}, spec(), 1)


def test_one_gguf_is_found(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="it holds none"):
        files_of(tmp_path)
    first = tmp_path / "a.gguf"
    first.touch()
    assert files_of(tmp_path) == files_of(first) == first
    (tmp_path / "b.gguf").touch()
    with pytest.raises(LoadError, match=r"it holds a\.gguf, b\.gguf"):
        files_of(tmp_path)
