"""What the operator deletes and adopts, and what it keeps while its profiles cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.api import Api, Json
from harness.fake_kubelet import FakeKubelet
from harness.models import API, APPS, KIND, condition, model, phase, reason, wait
from harness.nodes import on_node
from harness.operator_process import NAMESPACE, OperatorProcess
from harness.tenant import Tenant

Put = Callable[..., Json]
PROFILES = "modelfleet-profiles"
LABELS = {"modelfleet.dev/inferencemodel": "mine", "app.kubernetes.io/managed-by": "modelfleet"}
CACHE = ("v1", "PersistentVolumeClaim", "cached-cache")


def claim(name: str, **meta: Any) -> Json:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "labels": LABELS, **meta}, "spec": spec}  # fmt: skip


def config_map(data: dict[str, str]) -> Json:
    meta = {"name": PROFILES, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.fixture
def profiles(api: Api, operator: OperatorProcess) -> Iterator[Callable[[dict[str, str]], None]]:
    """Set the profiles; the operator is stopped after the test, so that it forgets them."""
    yield lambda data: api.apply(config_map(data))
    api.apply(config_map({}))
    operator.stop()


def test_objects_with_copied_labels_are_kept(
    tenant: Tenant, operator: OperatorProcess, put: Put
) -> None:
    """`kubectl expose` copies the labels of the Deployment, a restored backup those of a claim."""
    put("mine")
    tenant.kubectl("expose", "deployment/mine", "--name=public", "--port=80")
    exposed = tenant.get("v1", "Service", "public")
    assert exposed["metadata"]["labels"].items() >= LABELS.items()
    clone = tenant.create(claim("mine-clone"))
    gateway = tenant.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gateway"}}
    )
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gateway",
             "uid": gateway["metadata"]["uid"], "controller": True}  # fmt: skip
    selector = {"matchLabels": {"app": "x"}}
    budget = tenant.create(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
         "metadata": {"name": "mine", "labels": LABELS, "ownerReferences": [owner]},
         "spec": {"maxUnavailable": 1, "selector": selector}}
    )  # fmt: skip
    # Each change below leads to a reconcile that would have deleted them.
    tenant.api.patch(tenant.namespaced(model("mine")), {"spec": {"replicas": 0}})
    wait(tenant, "mine", phase("ScaledToZero"))
    remote = {"engine": "remote", "remote": {"address": "http://far.example.test"}}
    tenant.api.patch(tenant.namespaced(model("mine")), {"spec": remote})
    for api_version, kind in ((APPS, "Deployment"), ("v1", "Service")):
        tenant.wait(api_version, kind, "mine", lambda item: item is None)
    for kept in (exposed, clone, budget):
        found = tenant.get(kept["apiVersion"], kept["kind"], kept["metadata"]["name"])
        assert found["metadata"]["uid"] == kept["metadata"]["uid"]
        assert "deletionTimestamp" not in found["metadata"]
        assert found["metadata"].get("ownerReferences") == kept["metadata"].get("ownerReferences")


def test_a_label_that_was_removed_is_restored(
    tenant: Tenant, operator: OperatorProcess, put: Put
) -> None:
    put("labelled")
    before = tenant.get("v1", "Service", "labelled")
    tenant.kubectl("label", "service/labelled", "modelfleet.dev/inferencemodel-")
    after = tenant.wait(
        "v1", "Service", "labelled",
        lambda item: item and item["metadata"]["labels"] == before["metadata"]["labels"],
    )  # fmt: skip
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    wait(tenant, "labelled", phase("Ready"))


def test_a_cache_outlives_its_profile_and_dies_with_the_resource(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    profiles: Callable[[dict[str, str]], None],
) -> None:
    add_node("cached")
    profiles({"cache": "modelCache: {size: 1Gi}\n"})
    tenant.create(model("cached", profile="cache", **on_node("cached")))
    first = tenant.wait(*CACHE, bool)
    profiles({"cache": "{}\n"})
    tenant.wait(APPS, "Deployment", "cached", lambda item: item and "cached-cache" not in str(item))
    remote = {"engine": "remote", "remote": {"address": "http://far.example.test"}}
    tenant.api.patch(tenant.namespaced(model("cached")), {"spec": remote})
    tenant.wait(APPS, "Deployment", "cached", lambda item: item is None)
    kept = tenant.get(*CACHE)
    assert kept["metadata"]["uid"] == first["metadata"]["uid"]
    assert "deletionTimestamp" not in kept["metadata"]
    tenant.kubectl("delete", "inferencemodel/cached")
    # The garbage collector discovers new kinds of owners twice a minute.
    tenant.wait(*CACHE, lambda item: item is None or "deletionTimestamp" in item["metadata"])


def test_without_their_config_map_the_last_profiles_stay_in_use(
    tenant: Tenant,
    api: Api,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
    profiles: Callable[[dict[str, str]], None],
) -> None:
    add_node("zoned", labels={"zone": "a"})
    default = {"default": "nodeSelector: {zone: a}\n"}
    profiles(default)
    operator.stop()
    operator.start()
    tenant.create(model("zoned"))
    wait(tenant, "zoned", phase("Ready"))
    before = tenant.get(APPS, "Deployment", "zoned")
    assert before["spec"]["template"]["spec"]["nodeSelector"] == {"zone": "a"}

    def shows(why: str | None) -> Callable[[Json | None], bool]:
        return lambda found: condition(found, "ProfileCurrent").get("reason") == why

    api.delete(config_map({}))
    wait(tenant, "zoned", shows("ProfilesMissing"))
    operator.stop()
    operator.start()
    api.apply(config_map({"default": "nodeSelector: ["}))
    found = wait(tenant, "zoned", shows("ProfileInvalid"))
    assert phase("Ready")(found)
    tenant.kubectl("scale", "im/zoned", "--replicas=2")
    wait(tenant, "zoned", lambda m: phase("Ready")(m) and "'2/2'" in str(m))
    after = tenant.get(APPS, "Deployment", "zoned")
    assert after["spec"]["template"] == before["spec"]["template"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    api.apply(config_map(default))
    wait(tenant, "zoned", shows(None))
    final = tenant.get(APPS, "Deployment", "zoned")
    assert final["spec"]["template"] == before["spec"]["template"]
    assert len(tenant.items(APPS, "ReplicaSet")) == 1


def test_variables_that_cannot_be_read_have_a_reason(
    tenant: Tenant, operator: OperatorProcess
) -> None:
    tenant.create(model("wrong", env={"A": {"valueFrom": {"fieldRef": {}}}}))
    found = wait(tenant, "wrong", reason("InvalidSpec"))
    assert "env.A" in condition(found, "Ready")["message"]
    tenant.api.patch(tenant.namespaced(model("wrong")), {"spec": {"env": {"A": None}}})
    wait(tenant, "wrong", lambda m: m and m["status"]["reason"] != "InvalidSpec")
    assert tenant.get(API, KIND, "wrong")["spec"].get("env") in (None, {})
