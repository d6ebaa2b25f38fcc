"""Fields of a manifest that have no effect without a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_local import cluster_fields
from fleet_local.errors import StartError
from fleet_local.selection import check

Spec = Callable[..., ModelSpec]

HONOURED = frozenset({
    "model", "aliases", "task", "engine", "handler", "device", "dtype", "source", "sha256",
    "weights", "dimensions", "matryoshka_dimensions", "pooling", "context_length", "vision",
    "multilingual", "defaults", "limits", "batching", "cache", "warmup", "images", "golden",
    "replicas", "stopped", "min_replicas", "max_replicas", "routing", "fallback", "env", "remote",
    "quantization", "prompts", "traffic", "s3", "adapters", "speculative", "scale_to_zero_after",
    "priority", "yields_after", "wake_at", "price",
})  # fmt: skip
REFUSED = frozenset({"files", "container", "env_from"})


def test_every_field_is_supported_ignored_or_refused() -> None:
    known = HONOURED | REFUSED | set(cluster_fields.IGNORED)
    assert set(ModelSpec.model_fields) <= known
    assert not HONOURED & set(cluster_fields.IGNORED)


def test_ignored_fields_of_a_manifest_are_named_as_written(spec: Spec) -> None:
    given = spec(replicas=2, scaleToZeroAfter=60, nodeSelector={"a": "b"}, image="x", maxReplicas=3)
    assert cluster_fields.ignored(given) == ["image", "nodeSelector"]
    rising = spec(traffic={"group": "g", "rise": {}}, container={"image": "x"})
    assert cluster_fields.ignored(rising) == ["container", "traffic.rise"]


def test_ignored_fields_of_the_catalog_are_not_named(spec: Spec) -> None:
    entry = spec("a", resources={"requests": {"memory": "1Gi"}})
    own = entry.model_copy(update={"image": "x"})
    other = spec("b", tolerations=[{"key": "gpu"}])
    catalog = {"a": entry}
    assert cluster_fields.notice([entry, spec("c")], catalog) is None
    assert cluster_fields.notice([own, other], catalog) == (
        "Ignored without a cluster: a (image); b (tolerations)."
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"engine": "vllm", "container": {"image": "x"}}, "container"),
        ({"engine": "vllm", "image": "x"}, "container"),
        ({"engine": "container", "container": {"image": "x"}}, "container"),
        ({"files": [{"path": "/etc/prompt", "content": "x"}]}, "/etc/prompt"),
        ({"source": "s3://b/m", "s3": {"secretRef": {"name": "keys"}}}, "Secret keys"),
        ({"envFrom": [{"secretRef": {"name": "s"}}]}, "Secrets"),
        ({"env": {"A": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}}}, "Secrets"),
    ],
)
def test_fields_that_would_change_results_are_refused(
    spec: Spec, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(StartError, match=words) as caught:
        check([spec(**fields)])
    assert caught.value.hint


def test_a_fleet_of_stopped_models_is_refused(spec: Spec) -> None:
    with pytest.raises(StartError, match="stopped"):
        check([spec("a", replicas=0)])
    with pytest.raises(StartError, match="stopped"):
        check([spec("a", stopped=True)])
    check([spec("a", replicas=0), spec("b")])
