"""Uninstalls the release as in docs/operations.md; no object is left or stuck."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from harness import operator_process
from harness.api import Api
from harness.fleet import Fleet
from harness.kubectl import Kubectl, KubectlError
from support import waiting

DEFINITION = "inferencemodels.modelfleet.dev"
IN_EVERY_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def test_no_objects_are_left(
    fleet: Fleet, node_api: Api, figures: Callable[[str, Any], None]
) -> None:
    admin = Kubectl(node_api.kubeconfig)
    before = all_objects(fleet)
    assert {f"inferencemodel.modelfleet.dev/{name}" for name in ("smollm2", "minilm")} <= before
    assert "persistentvolumeclaim/fleet-modelfleet-models" in before
    seconds = {}

    began = time.monotonic()
    fleet.kubectl("delete", "inferencemodels", "--all", timeout=300)
    fleet.tenant.wait_list(
        "v1", "Pod", lambda pods: not pods, 300, labelSelector="modelfleet.dev/inferencemodel"
    )
    seconds["models and their servers"] = time.monotonic() - began

    began = time.monotonic()
    fleet.helm("uninstall", "--wait", "--timeout=600s")
    seconds["helm uninstall"] = time.monotonic() - began
    fleet.tenant.wait_list("v1", "Pod", lambda pods: not pods, 300)
    seconds["until its last pod was deleted"] = time.monotonic() - began
    kept = IN_EVERY_NAMESPACE | {"persistentvolumeclaim/fleet-modelfleet-models"}  # the weights
    with suppress(TimeoutError):  # objects with an owner are collected soon
        waiting.until(lambda: all_objects(fleet) == kept)
    assert all_objects(fleet) == kept
    fleet.kubectl("delete", "pvc", "fleet-modelfleet-models", timeout=300)
    assert all_objects(fleet) == IN_EVERY_NAMESPACE
    assert not cluster_scoped(admin, fleet.tenant.namespace)

    # The definition, and with it all models, outlives a release until a user deletes it.
    admin("delete", "crd", DEFINITION, timeout=300)
    with pytest.raises(KubectlError, match="NotFound"):
        admin("get", "crd", DEFINITION)
    operator_process.install(node_api)

    began = time.monotonic()
    admin("delete", "namespace", fleet.tenant.namespace, "--timeout=300s", timeout=320)
    seconds["the namespace"] = time.monotonic() - began
    figures("uninstall", seconds)


def all_objects(fleet: Fleet) -> set[str]:
    """`kind/name` of all objects in the namespace, except events."""
    kinds = fleet.kubectl("api-resources", "--namespaced", "--verbs=list,get", "-o", "name").split()
    names = ",".join(kind for kind in kinds if kind.split(".")[0] != "events")
    return set(fleet.kubectl("get", names, "-o", "name", "--ignore-not-found").split())


def cluster_scoped(admin: Kubectl, namespace: str) -> list[str]:
    """Cluster-scoped objects that are named after the namespace or owned by its release."""
    kinds = admin("api-resources", "--namespaced=false", "--verbs=list,get", "-o", "name").split()
    names = ",".join(kind for kind in kinds if kind not in ("namespaces", "persistentvolumes"))
    items = json.loads(admin("get", names, "-o", "json", "--ignore-not-found"))["items"]
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in items
        if namespace in item["metadata"]["name"]
        or (item["metadata"].get("annotations") or {}).get("meta.helm.sh/release-namespace")
        == namespace
    ]
