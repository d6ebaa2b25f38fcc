"""A release on a real API server: install, upgrade, roll back, uninstall.

Nodes and pods are simulated.
"""

from __future__ import annotations

import itertools

import pytest

from chart.release import Definition, Release
from harness.api import Api, ApiError, Json
from harness.control_plane import ControlPlane
from harness.helm import CHART, Helm, HelmError
from harness.models import model as inference_model
from support.waiting import until

MODELS = {"smollm2": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}}


def test_install_upgrade_rollback_uninstall(
    release: Release, kubelet: None, definition: Definition
) -> None:
    models = {"models": MODELS, "modelNamespace.name": release.tenant.namespace}
    notes = release("install", values=models)
    wait_for_deployments(release)
    assert "wait --for=condition=Ready" in notes

    changed = {"image.tag": "9.9.9", "router.replicas": 3, "operator.replicas": 2, **models}
    release("upgrade", values=changed)
    wait_for_deployments(release)
    assert release.image("router") == "modelfleet-router:9.9.9"

    release("rollback", "1")
    wait_for_deployments(release)
    assert release.image("router") == "modelfleet-router:0.1.0"
    replicas = release.tenant.get("apps/v1", "Deployment", "fleet-modelfleet-router")
    assert replicas["spec"]["replicas"] == 2

    release("uninstall", "--wait", "--timeout=180s")
    release.tenant.wait_list("apps/v1", "ReplicaSet", lambda items: not items)
    until(lambda: release.objects() == [], state=release.objects)
    assert definition.is_fresh(), "uninstalling keeps the definition and all models"


def wait_for_deployments(release: Release) -> None:
    """Wait until every pod of operator and router is of the current version and available."""

    def complete(items: list[Json]) -> bool:
        return len(items) == 2 and all(
            one["status"].get("observedGeneration") == one["metadata"]["generation"]
            and one["spec"]["replicas"]
            == one["status"].get("updatedReplicas")
            == one["status"].get("replicas")
            == one["status"].get("availableReplicas")
            for one in items
        )

    selector = "app.kubernetes.io/instance=fleet"
    release.tenant.wait_list("apps/v1", "Deployment", complete, labelSelector=selector)


def test_a_second_release_in_a_namespace_is_rejected(release: Release, helm: Helm) -> None:
    release("install")
    with pytest.raises(HelmError, match="modelfleet-profiles"):
        helm("install", "second", str(CHART), "-n", release.tenant.namespace)
    release("uninstall")


def test_the_router_may_change_one_annotation_only(
    release: Release, control_plane: ControlPlane
) -> None:
    release("install")
    tenant, account = release.tenant, "fleet-modelfleet-router"
    path = tenant.api.path("v1", "ServiceAccount", tenant.namespace, account)
    token = tenant.api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
    model = tenant.create(inference_model("smollm2"))
    with Api(control_plane.kubeconfig_with("chart-router", token, tenant.namespace)) as router:

        def annotate(**given: str) -> Json:
            return {"metadata": {"annotations": given}}

        refused: list[Json] = [
            {"spec": {"replicas": 0}},
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"finalizers": ["example.com/a"]}},
            annotate(other="b"),
            {"metadata": {"annotations": None}},
        ]
        wake = {"modelfleet.dev/wake-at": "2026-01-01T00:00:00Z"}
        wait_for_policy(router, model)
        router.patch(model, annotate(**wake))
        for body in refused:
            with pytest.raises(ApiError, match="the router may change the annotation"):
                router.patch(model, body)
        router.patch(model, annotate(**{"modelfleet.dev/wake-at": "2026-01-01T00:00:09Z"}))
    release("uninstall", "--wait", "--timeout=180s")


def wait_for_policy(router: Api, model: Json) -> None:
    """A new policy takes effect after a moment; each attempt is a different change."""
    replicas = itertools.count(2)

    def is_rejected() -> bool:
        try:
            router.patch(model, {"spec": {"replicas": next(replicas)}})
        except ApiError:
            return True
        return False

    until(is_rejected, every=0.1)
