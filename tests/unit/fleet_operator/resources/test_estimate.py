"""Upper estimates of memory and disk."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract import catalog
from fleet_contract.spec import ModelSpec
from fleet_operator.quantity import thousandths
from fleet_operator.resources import estimate
from fleet_operator.resources.estimate import GIB
from fleet_operator.resources.images import as_served
from fleet_operator.settings import OperatorSettings

CATALOG = catalog.load()


def spec(name: str = "org/m-1B", **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": name, **fields})


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.5e9),
        ("google/embeddinggemma-300m", 300e6),
        ("mistralai/Mixtral-8x7B-v0.1", 56e9),
        ("Qwen/Qwen2.5-7B-Instruct-1M", 7e9),
        ("Qwen/Qwen3-30B-A3B", 30e9),
        ("google/gemma-3n-E4B-it", None),
        ("BAAI/bge-m3", None),
        ("org/model-4bit", None),
        ("microsoft/Phi-3-mini-4k-instruct", None),
        ("org/m-99999999999999999999x99999999999999999999B", 1e13),
    ],
)
def test_parameters_are_read_from_the_name(name: str, count: float | None) -> None:
    assert estimate.parameters(spec(name)) == count


def test_the_source_is_read_as_well() -> None:
    assert estimate.parameters(spec("org/m", source="hf://other/m-3B@main")) == 3e9


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cache": {"kvGib": 4}}, 2e9 + 4 * GIB + GIB),
        ({"engine": "torch"}, 4e9 + 2 * GIB),
        ({"dtype": "float32"}, 4e9 + 2 * GIB),
        ({"vision": True}, 4e9 + 2 * GIB),
        ({"task": "rerank"}, 4e9 + GIB),
        ({"task": "embedding", "dimensions": 256, "cache": {"embeddings": 1000}},
         4e9 + GIB + 1000 * 256 * 4),
        ({"task": "embedding", "cache": {"embeddings": 1000}}, 4e9 + GIB + 1000 * 4096 * 4),
        ({"engine": "llamacpp", "speculative": {"draft": {"source": "hf://org/d-0.5B-GGUF"}}},
         3e9 + 2 * GIB),
        ({"engine": "llamacpp", "speculative": {"draft": {"source": "hf://org/d-GGUF"}}},
         4e9 + 2 * GIB),
        ({"model": "org/m"}, 18 * GIB),
        ({"model": "org/m", "engine": "container"}, 66 * GIB),
    ],
)  # fmt: skip
def test_memory_is_weights_caches_and_process(fields: dict[str, Any], expected: float) -> None:
    assert estimate.memory(spec(**{"name": fields.pop("model", "org/m-1B"), **fields})) == expected


def test_settings_in_the_env_of_the_spec_count() -> None:
    served = as_served(spec(env={"KV_CACHE_GIB": "8"}))
    assert estimate.memory(served) == 2e9 + 9 * GIB
    refused = spec(env={"KV_CACHE_GIB": "-8"})
    assert as_served(refused) == refused


@pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
def test_the_default_limit_of_a_catalog_model_is_not_below_the_catalogs(
    entry: ModelSpec, settings: OperatorSettings
) -> None:
    limit = estimate.gibibytes(settings.memory_limit_factor * estimate.memory(entry))
    assert thousandths(limit) >= thousandths(entry.resources.limits["memory"])


def test_files_are_a_download_and_its_conversion() -> None:
    assert estimate.files(spec()) == 12e9 + 4 * GIB
    assert estimate.files(spec("org/m")) == 200 * GIB
    requested = {"requests": {"ephemeral-storage": "300Gi"}}
    assert estimate.files(spec("org/m", resources=requested)) == 600 * GIB


def test_scratch_space_holds_every_recording() -> None:
    assert estimate.scratch(spec()) == 8 * GIB
    limits = {"maxQueueSize": 2, "maxAudioBytes": GIB, "maxAudioSeconds": 1000}
    found = estimate.scratch(spec(task="speech", limits=limits))
    assert found == 8 * GIB + 10 * GIB + 8 * 1000 * 64_000
    more = estimate.scratch(spec(task="speech", limits={**limits, "maxConcurrent": 10}))
    assert more == 8 * GIB + 12 * GIB + 10 * 1000 * 64_000


@pytest.mark.parametrize(("size", "text"), [(0, "0Gi"), (1, "1Gi"), (GIB, "1Gi"), (GIB + 1, "2Gi")])
def test_sizes_are_rounded_up(size: int, text: str) -> None:
    assert estimate.gibibytes(size) == text
