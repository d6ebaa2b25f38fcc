"""The release is uninstalled as docs/operations.md says, and nothing of it is left or stuck."""

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
OF_EVERY_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def test_nothing_is_left(fleet: Fleet, node_api: Api, figures: Callable[[str, Any], None]) -> None:
    admin = Kubectl(node_api.kubeconfig)
    before = everything(fleet)
    assert {f"inferencemodel.modelfleet.dev/{name}" for name in ("smollm2", "minilm")} <= before
    assert "persistentvolumeclaim/fleet-modelfleet-models" in before
    seconds = {}

    began = time.monotonic()
    fleet.kubectl("delete", "inferencemodels", "--all", timeout=120)
    fleet.tenant.wait_list(
        "v1", "Pod", lambda pods: not pods, 180, labelSelector="modelfleet.dev/inferencemodel"
    )
    seconds["models and their servers"] = time.monotonic() - began

    began = time.monotonic()
    fleet.helm("uninstall", "--wait", "--timeout=300s")
    seconds["helm uninstall"] = time.monotonic() - began
    fleet.tenant.wait_list("v1", "Pod", lambda pods: not pods, 180)
    seconds["until its last pod has gone"] = time.monotonic() - began
    with suppress(TimeoutError):  # what belonged to a Deployment is collected in a moment
        waiting.until(lambda: everything(fleet) == OF_EVERY_NAMESPACE, 60)
    assert everything(fleet) == OF_EVERY_NAMESPACE
    assert not wide(admin, fleet.tenant.namespace)

    # The definition, and with it everybody's models, outlives a release until somebody deletes it.
    admin("delete", "crd", DEFINITION, timeout=120)
    with pytest.raises(KubectlError, match="NotFound"):
        admin("get", "crd", DEFINITION)
    operator_process.install(node_api)

    began = time.monotonic()
    admin("delete", "namespace", fleet.tenant.namespace, "--timeout=120s", timeout=130)
    seconds["the namespace"] = time.monotonic() - began
    figures("uninstall", seconds)


def everything(fleet: Fleet) -> set[str]:
    """`kind/name` of all that lies in the namespace, whatever its kind; events tell of the past."""
    kinds = fleet.kubectl("api-resources", "--namespaced", "--verbs=list,get", "-o", "name").split()
    asked = ",".join(kind for kind in kinds if kind.split(".")[0] != "events")
    return set(fleet.kubectl("get", asked, "-o", "name", "--ignore-not-found").split())


def wide(admin: Kubectl, namespace: str) -> list[str]:
    """What lies outside of namespaces and is named after one or owned by its release."""
    kinds = admin("api-resources", "--namespaced=false", "--verbs=list,get", "-o", "name").split()
    asked = ",".join(kind for kind in kinds if kind not in ("namespaces", "persistentvolumes"))
    items = json.loads(admin("get", asked, "-o", "json", "--ignore-not-found"))["items"]
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in items
        if namespace in item["metadata"]["name"]
        or (item["metadata"].get("annotations") or {}).get("meta.helm.sh/release-namespace")
        == namespace
    ]
