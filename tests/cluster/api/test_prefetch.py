"""The DaemonSet that fills node caches, against a real API server and DaemonSet controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.api import Api, Json
from harness.fake_kubelet import FakeKubelet
from harness.models import API, APPS, model
from harness.operator_process import NAMESPACE, OperatorProcess
from harness.tenant import Tenant
from support.waiting import until

DAEMON_SET = (APPS, "DaemonSet", "modelfleet-prefetch-fast")
LIST = "modelfleet.dev/models"


def config_map(data: dict[str, str]) -> Json:
    meta = {"name": "modelfleet-profiles", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.fixture
def profile(api: Api, operator: OperatorProcess) -> Iterator[Callable[[str], None]]:
    """Set the profile `fast`; the operator is stopped after the test, so that it forgets it."""
    yield lambda text: api.apply(config_map({"fast": text}))
    api.apply(config_map({}))
    operator.stop()


def with_pods(count: int) -> Callable[[Json | None], bool]:
    def holds(found: Json | None) -> bool:
        status = (found or {}).get("status", {})
        return status.get("numberReady") == status.get("updatedNumberScheduled") == count

    return holds


def lists(*models: str) -> Callable[[Json | None], bool]:
    def holds(found: Json | None) -> bool:
        if found is None:
            return False
        text = found["spec"]["template"]["metadata"]["annotations"][LIST]
        return all(f"test/{name}" in text for name in models) and text.count(API) == len(models)

    return holds


def test_weights_are_prefetched_to_the_nodes_of_a_profile(
    tenant: Tenant,
    operator: OperatorProcess,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    profile: Callable[[str], None],
) -> None:
    label = {"pool": tenant.namespace}
    for name in ("a", "b"):
        add_node(f"{tenant.namespace}-{name}", labels=label)
    cache = "modelCache: {node: true, prefetch: true}\n"
    profile(f"nodeSelector: {{pool: {tenant.namespace}}}\n{cache}")
    tenant.create(model("one", profile="fast", source="hf://test/one", replicas=0))
    tenant.create(model("two", profile="fast", source="hf://test/two", replicas=0))
    tenant.create(model("own", profile="fast", source="hf://test/own", replicas=0,
                        env={"HF_ENDPOINT": "https://mine"}))  # fmt: skip
    tenant.wait(*DAEMON_SET, lists("one", "two"))
    found = tenant.wait(*DAEMON_SET, with_pods(2))
    assert found["spec"]["template"]["spec"]["nodeSelector"] == label
    nodes = {pod["spec"]["nodeName"] for pod in tenant.items("v1", "Pod")}
    assert nodes == {f"{tenant.namespace}-a", f"{tenant.namespace}-b"}

    sample = f'nodes_ready{{namespace="{tenant.namespace}",profile="fast"}} 2.0'
    until(lambda: sample in operator.metrics(), state=operator.log)
    generation = found["metadata"]["generation"]

    tenant.api.patch(tenant.namespaced(model("two")), {"spec": {"minReplicas": 0, "stopped": True}})
    found = tenant.wait(*DAEMON_SET, lists("one"))
    assert found["metadata"]["generation"] == generation + 1  # nothing was applied in between
    assert [owner["name"] for owner in found["metadata"]["ownerReferences"]] == ["one"]

    # Deleted with the last model that wants it, by the operator or without one.
    tenant.api.patch(tenant.namespaced(model("one")), {"spec": {"stopped": True}})
    tenant.wait(*DAEMON_SET, lambda gone: gone is None)
    tenant.api.patch(tenant.namespaced(model("one")), {"spec": {"stopped": False}})
    tenant.wait(*DAEMON_SET, lists("one"))
    operator.kill()
    tenant.api.delete(tenant.namespaced(model("one")))
    tenant.wait(*DAEMON_SET, lambda gone: gone is None)
