"""Deployment, Service, budget and claim, compared whole."""

from __future__ import annotations

import pytest

from fleet_contract.spec import ModelSpec
from fleet_operator.resources import children
from fleet_operator.resources.profiles import ModelCache
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model

OWNER = {
    "apiVersion": "modelfleet.dev/v1alpha1",
    "kind": "InferenceModel",
    "name": "m",
    "uid": "uid-m",
    "controller": True,
    "blockOwnerDeletion": False,
}
LABELS = {"modelfleet.dev/inferencemodel": "m", "app.kubernetes.io/managed-by": "modelfleet"}


def test_deployment(settings: OperatorSettings) -> None:
    template = {"metadata": {"labels": {"modelfleet.dev/template": "abc"}}, "spec": {}}
    made = children.deployment(model(), template, 2, children.RolloutStrategy(0, 1), settings)
    digest = made["metadata"]["annotations"].pop("modelfleet.dev/applied")
    assert len(digest) == 12
    assert made == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "m",
            "namespace": "ns",
            "labels": {**LABELS, "modelfleet.dev/template": "abc"},
            "ownerReferences": [OWNER],
            "annotations": {},
        },
        "spec": {
            "replicas": 2,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": 3600,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "selector": {"matchLabels": {"modelfleet.dev/inferencemodel": "m"}},
            "template": template,
        },
    }


def test_the_profile_of_a_deployment_is_part_of_what_was_applied(
    settings: OperatorSettings,
) -> None:
    template = {"metadata": {"labels": {"modelfleet.dev/template": "abc"}}, "spec": {}}
    strategy = children.RolloutStrategy(0, 1)

    def annotations(profile: str) -> dict[str, str]:
        made = children.deployment(model(), template, 2, strategy, settings, profile)
        return dict(made["metadata"]["annotations"])

    assert annotations("l4")["modelfleet.dev/profile"] == "l4"
    digests = {annotations(name)["modelfleet.dev/applied"] for name in ("", "l4", "h100")}
    assert len(digests) == 3


def test_service_and_budget() -> None:
    selector = {"modelfleet.dev/inferencemodel": "m"}
    service = children.service(model())
    assert service["metadata"]["labels"] == LABELS
    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": selector,
        "ports": [
            {
                "name": "http",
                "port": 8000,
                "targetPort": "http",
                "protocol": "TCP",
                "appProtocol": "http",
            }
        ],
    }
    budget = children.budget(model())
    assert budget["apiVersion"] == "policy/v1"
    assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": selector}}


def test_a_claim_keeps_immutable_fields_and_never_shrinks() -> None:
    cache = ModelCache(size="10Gi", storage_class_name="fast", access_mode="ReadWriteMany")
    made = children.cache_claim(model(), cache, None)
    assert made is not None
    assert made["metadata"]["name"] == "m-cache"
    assert made["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    old = {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "slow",
                    "resources": {"requests": {"storage": "20Gi"}}}}  # fmt: skip
    assert (children.cache_claim(model(), cache, old) or {})["spec"] == old["spec"]
    old["spec"]["resources"] = {"requests": {"storage": "5Gi"}}
    grown = children.cache_claim(model(), cache, old) or {}
    assert grown["spec"]["resources"] == {"requests": {"storage": "10Gi"}}


@pytest.mark.parametrize("cache", [None, ModelCache(), ModelCache(claim="shared", size="1Gi")])
def test_without_a_cache_of_its_own_there_is_no_claim(cache: ModelCache | None) -> None:
    assert children.cache_claim(model(), cache, None) is None


def test_addresses() -> None:
    spec = ModelSpec(model="org/m")
    assert children.address(model(), spec) == "http://m.ns.svc:8000"
    remote = ModelSpec.model_validate(
        {"model": "m", "engine": "remote", "remote": {"address": "https://far.example.test"}}
    )
    assert children.address(model(), remote) == "https://far.example.test"
