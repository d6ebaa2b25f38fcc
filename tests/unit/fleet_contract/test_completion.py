"""Short specs filled from the catalog, and where each field is from."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract import catalog
from fleet_contract.accelerators import SpecLayer
from fleet_contract.completion import complete, merge
from fleet_contract.spec import Engine, ModelSpec, Task

KNOWN = catalog.parse(
    """
models:
- model: acme/chat
  aliases: [chatty]
  task: chat
  engine: torch
  dtype: fp8
  source: hf://acme/chat@main
  defaults: {temperature: 0.5, topP: 0.9}
  limits: {maxPromptTokens: 100}
  resources: {requests: {cpu: "1"}, limits: {memory: 1Gi, nvidia.com/gpu: "1"}}
- model: acme/vectors
  task: embedding
  dimensions: 8
""",
    "test",
)


def test_an_id_alone_is_the_whole_entry() -> None:
    done = complete({"model": "acme/chat"}, KNOWN)
    assert done.spec == KNOWN["acme/chat"]
    assert done.origin("model") == "manifest"
    assert done.origin("task") == "catalog"
    assert done.origin("defaults.topP") == "catalog"
    assert done.origin("limits.maxItems") == "default"


def test_blocks_are_merged_field_by_field() -> None:
    done = complete({"model": "acme/chat", "defaults": {"temperature": 0}}, KNOWN)
    assert done.spec.defaults.temperature == 0
    assert done.spec.defaults.top_p == 0.9
    assert done.origin("defaults.temperature") == "manifest"
    assert done.origin("defaults.topP") == "catalog"
    assert done.spec.limits.max_prompt_tokens == 100


def test_a_default_of_the_manifest_overrides_the_catalog() -> None:
    done = complete({"model": "acme/chat", "engine": "auto"}, KNOWN)
    assert done.spec.engine is Engine.AUTO
    assert done.origin("engine") == "manifest"


def test_other_weights_drop_fields_that_describe_the_weights_of_the_entry() -> None:
    done = complete({"model": "acme/chat", "source": "file:///srv/chat.gguf"}, KNOWN)
    assert done.spec.engine is Engine.AUTO
    assert done.spec.dtype.value == "auto"
    assert done.spec.defaults.temperature == 0.5
    assert done.notes == (
        "engine, dtype of the catalog left out: the manifest names other weights",
    )


def test_other_weights_never_inherit_a_checksum() -> None:
    known = catalog.load()
    model = "HuggingFaceTB/SmolLM2-135M-Instruct"
    done = complete({"model": model, "source": "file:///srv/other.gguf"}, known)
    assert known[model].sha256 is not None
    assert done.spec.sha256 is None


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_no_gpu_is_requested_for_other_devices(device: str) -> None:
    done = complete({"model": "acme/chat", "device": device}, KNOWN)
    assert done.spec.resources.limits == {"memory": "1Gi"}
    assert "nvidia.com/gpu" in done.notes[0]
    assert complete({"model": "acme/chat", "device": "cuda"}, KNOWN).spec.resources.limits[
        "nvidia.com/gpu"
    ]


def test_an_alias_selects_the_entry_and_is_kept() -> None:
    done = complete({"model": "chatty"}, KNOWN)
    assert done.spec.ids == ("acme/chat", "chatty")
    assert done.notes == ("chatty is an alias of acme/chat in the catalog",)
    with_own = complete({"model": "chatty", "aliases": ["mine"]}, KNOWN)
    assert with_own.spec.ids == ("acme/chat", "mine", "chatty")


def test_a_model_without_a_catalog_entry() -> None:
    done = complete({"model": "acme/new", "task": "embedding"}, KNOWN)
    assert done.spec == ModelSpec(model="acme/new", task=Task.EMBEDDING)
    assert done.origins == {"model": "manifest", "task": "manifest"}


def test_nulls_count_as_absent() -> None:
    done = complete({"model": "acme/chat", "engine": None, "defaults": {"topP": None}}, KNOWN)
    assert done.spec.engine is Engine.TORCH
    assert done.spec.defaults.top_p == 0.9


def test_a_layer_below_the_catalog() -> None:
    profile = SpecLayer("profile large", {"resources": {"requests": {"cpu": "8", "memory": "9Gi"}}})
    done = complete({"model": "acme/chat"}, KNOWN, [profile])
    assert done.spec.resources.requests == {"cpu": "1", "memory": "9Gi"}
    assert done.origin("resources.requests.memory") == "profile large"


def test_layers_below_have_precedence_in_their_order() -> None:
    below = [
        SpecLayer("profile large", {"limits": {"maxQueueSize": 5, "maxPromptTokens": 9}}),
        SpecLayer("defaults", {"limits": {"maxQueueSize": 6, "maxStop": 2}}),
    ]
    done = complete({"model": "acme/chat"}, KNOWN, below)
    limits = done.spec.limits
    assert (limits.max_prompt_tokens, limits.max_queue_size, limits.max_stop) == (100, 5, 2)
    origins = [done.origin(f"limits.{n}") for n in ("maxPromptTokens", "maxQueueSize", "maxStop")]
    assert origins == ["catalog", "profile large", "defaults"]


def test_lists_and_values_are_taken_whole() -> None:
    merged, origins = merge(
        [SpecLayer("a", {"x": [1], "y": {"z": 1}}), SpecLayer("b", {"x": [2, 3], "y": 2, "w": 3})]
    )
    assert merged == {"x": [1], "y": {"z": 1}, "w": 3}
    assert origins == {"x": "a", "y.z": "a", "w": "b"}


def test_sources_of_variables_are_taken_whole() -> None:
    secret = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    config = {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}
    merged, origins = merge(
        [
            SpecLayer("a", {"env": {"X": secret, "Y": "1"}}),
            SpecLayer("b", {"env": {"X": config, "Y": config, "Z": config}}),
            SpecLayer("c", {"env": {"X": "2", "Z": "2"}}),
        ]
    )
    assert merged == {"env": {"X": secret, "Y": "1", "Z": config}}
    assert origins == {"env.X.valueFrom": "a", "env.Y": "a", "env.Z.valueFrom": "b"}


def test_the_keys_of_one_store_are_not_joined_with_the_endpoint_of_another() -> None:
    keys = {"secretRef": {"name": "platform"}, "endpoint": "https://s3.example.com"}
    mine = {"endpoint": "https://elsewhere.example.com"}
    merged, origins = merge([SpecLayer("a", {"s3": mine}), SpecLayer("b", {"s3": keys})])
    assert (merged, origins) == ({"s3": mine}, {"s3": "a"})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "model: Field required"),
        ({"model": 3}, "model: "),
        ({"model": "acme/chat", "max_replicas": 3}, "max_replicas: write maxReplicas"),
        ({"model": "acme/chat", "defaults": {"temperature": 9}}, "defaults.temperature: "),
        ({"model": "acme/chat", "defaults": 3}, "defaults: "),
        ({"model": "acme/vectors", "vision": True}, "^vision: only a chat model"),
        ({"model": "acme/chat", "device": "rocm"}, "device: must be auto.*AMD with ROCm"),
        ({"model": "a", "nonsense": 1}, "nonsense: "),
    ],
)
def test_refusals_name_the_field(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        complete(spec, KNOWN)


def test_inputs_are_not_changed() -> None:
    spec = {"model": "acme/chat", "defaults": {"temperature": 1}}
    complete(spec, KNOWN)
    assert spec == {"model": "acme/chat", "defaults": {"temperature": 1}}
    assert KNOWN["acme/chat"].resources.limits["nvidia.com/gpu"] == "1"
