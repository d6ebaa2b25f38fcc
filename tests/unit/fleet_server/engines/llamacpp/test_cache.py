from __future__ import annotations

from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.cache import KvCache, files_of
from fleet_server.load_error import LoadError

FOUND: dict[str, int | float | bool | str] = {
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
    assert KvCache.fit(FOUND, limited, 16, {"general.architecture": "x"}) == KvCache(8192, 8192)


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
    unknown = {key: value for key, value in FOUND.items() if "head_count" not in key}
    assert KvCache.fit(unknown, spec(), 4, guesses=33) == KvCache(8448, 8192)


def test_an_unknown_shape_holds_one_context() -> None:
    found = {key: value for key, value in FOUND.items() if "head_count" not in key}
    assert KvCache.fit(found, spec(), 4) == KvCache(8192, 8192)


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
