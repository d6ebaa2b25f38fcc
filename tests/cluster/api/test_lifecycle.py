"""Creation, changes, repair and deletion of InferenceModels, also across operator restarts."""

from __future__ import annotations

from collections.abc import Callable

from harness.api import Json
from harness.fake_kubelet import FakeKubelet
from harness.models import API, APPS, KIND, condition, model, phase, wait
from harness.operator_process import OperatorProcess
from harness.tenant import Tenant


def test_a_minimal_resource_is_served(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("life-a")
    tenant.create(model("chat", task="embedding"))
    found = wait(tenant, "chat", phase("Ready"))
    print(found["status"])
    assert condition(found, "Ready")["status"] == "True"


def test_edited_or_deleted_children_are_restored(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("drift-a")
    tenant.create(model("drift", replicas=2, task="embedding"))
    wait(tenant, "drift", phase("Ready"))
    deployment = tenant.get(APPS, "Deployment", "drift")
    budget = tenant.get("policy/v1", "PodDisruptionBudget", "drift")
    assert budget["spec"]["maxUnavailable"] == 1

    tenant.kubectl("scale", "deployment/drift", "--replicas=5")
    tenant.wait(APPS, "Deployment", "drift", lambda d: d and d["spec"]["replicas"] == 2)
    image = "deployment/drift"
    tenant.kubectl("set", "image", image, "server=example.test/other:1")
    tenant.wait(APPS, "Deployment", "drift", lambda d: d and image_of(d) == image_of(deployment))
    tenant.kubectl("delete", "service/drift", "poddisruptionbudget/drift", "deployment/drift")
    for api_version, kind in (("v1", "Service"), ("policy/v1", "PodDisruptionBudget")):
        tenant.wait(api_version, kind, "drift", bool)
    tenant.wait(APPS, "Deployment", "drift", lambda d: d and d["status"].get("readyReplicas") == 2)
    wait(tenant, "drift", phase("Ready"))


def image_of(deployment: Json) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def test_deleting_the_resource_deletes_its_children(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("delete-a")
    tenant.create(model("brief"))
    found = wait(tenant, "brief", phase("Ready"))
    assert "finalizers" not in found["metadata"]
    assert "annotations" not in found["metadata"]
    tenant.kubectl("delete", "inferencemodel/brief", "--timeout=90s", timeout=180)
    for api_version, kind in ((APPS, "Deployment"), ("v1", "Service")):
        # The garbage collector discovers new kinds of owners twice a minute.
        tenant.wait(api_version, kind, "brief", lambda item: item is None)


def test_only_changes_of_the_pod_template_roll_out(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("update-a")
    tenant.create(model("update", task="embedding"))
    wait(tenant, "update", phase("Ready"))
    first = tenant.get(APPS, "Deployment", "update")
    patch = {"spec": {"replicas": 2, "routing": {"strategy": "PrefixHash"}, "fallback": "other"}}
    tenant.api.patch(tenant.namespaced(model("update")), patch)
    wait(tenant, "update", lambda m: phase("Ready")(m) and "'2/2'" in str(m))
    scaled = tenant.get(APPS, "Deployment", "update")
    assert scaled["spec"]["template"] == first["spec"]["template"]

    tenant.api.patch(tenant.namespaced(model("update")), {"spec": {"limits": {"maxItems": 7}}})
    found = wait(tenant, "update", lambda m: phase("Ready")(m) and "FreeCap" in str(m))
    pods = tenant.items("v1", "Pod")
    assert all('"maxItems":7' in str(pod) for pod in pods if not terminating(pod))
    assert condition(found, "Progressing")["status"] == "False"
    assert found["status"]["resolved"]["limits"] == {"maxItems": 7}


def terminating(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def test_a_killed_operator_resumes(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("killed-a")
    tenant.create(model("lasting"))
    tenant.create(model("leaving"))
    for name in ("lasting", "leaving"):
        wait(tenant, name, phase("Ready"))
    before = tenant.get(API, KIND, "lasting")
    operator.kill()
    tenant.create(model("coming"))
    tenant.kubectl("delete", "service/lasting", "inferencemodel/leaving")
    operator.start()
    wait(tenant, "coming", phase("Ready"))
    tenant.wait("v1", "Service", "lasting", bool)
    tenant.wait(APPS, "Deployment", "leaving", lambda item: item is None)
    after = wait(tenant, "lasting", phase("Ready"))
    assert after["status"] == before["status"]


def test_no_writes_without_changes(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("silent-a")
    for number in range(3):
        tenant.create(model(f"silent-{number}"))
    for number in range(3):
        wait(tenant, f"silent-{number}", phase("Ready"))
    operator.stop()
    operator.start()
    tenant.create(model("sentinel"))
    wait(tenant, "sentinel", phase("Ready"))
    # The sentinel is the last write; none of the earlier writes may be for the settled models.
    log = [line for line in operator.log().splitlines() if '"applied"' in line]
    assert log
    assert [line for line in log if '"sentinel"' not in line] == []


def test_orphaned_servers_are_adopted(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("orphan-a")
    tenant.create(model("heir"))
    wait(tenant, "heir", phase("Ready"))
    before = tenant.get(APPS, "Deployment", "heir")
    tenant.kubectl("delete", "inferencemodel/heir", "--cascade=orphan")
    tenant.wait(
        APPS, "Deployment", "heir", lambda d: d and not d["metadata"].get("ownerReferences"), 90
    )
    made = tenant.create(model("heir"))
    wait(tenant, "heir", phase("Ready"))
    after = tenant.wait(
        APPS, "Deployment", "heir", lambda d: d and d["metadata"].get("ownerReferences")
    )
    (owner,) = after["metadata"]["ownerReferences"]
    assert owner["uid"] == made["metadata"]["uid"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["template"] == before["spec"]["template"]


def test_a_recreated_resource_gets_new_children(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("again-a")
    tenant.create(model("again"))
    wait(tenant, "again", phase("Ready"))
    old = tenant.get(APPS, "Deployment", "again")["metadata"]["uid"]
    tenant.kubectl("delete", "inferencemodel/again", "--wait=false")
    tenant.wait(API, KIND, "again", lambda m: m is None)
    made = tenant.create(model("again"))
    wait(tenant, "again", phase("Ready"))
    after = tenant.get(APPS, "Deployment", "again")["metadata"]
    assert after["uid"] != old
    assert [owner["uid"] for owner in after["ownerReferences"]] == [made["metadata"]["uid"]]


def test_kubectl_rollout_restart_is_kept(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    """The operator keeps fields that it does not set."""
    add_node("restart-a")
    tenant.create(model("restarted"))
    wait(tenant, "restarted", phase("Ready"))
    (old,) = tenant.items("v1", "Pod")
    tenant.kubectl("rollout", "restart", "deployment/restarted")
    tenant.kubectl("annotate", "deployment/restarted", "example.test/note=kept")

    def replaced(pods: list[Json]) -> bool:
        return len(pods) == 1 and pods[0]["metadata"]["uid"] != old["metadata"]["uid"]

    tenant.wait_list("v1", "Pod", replaced)
    wait(tenant, "restarted", phase("Ready"))
    found = tenant.get(APPS, "Deployment", "restarted")
    assert found["metadata"]["annotations"]["example.test/note"] == "kept"
    template = found["spec"]["template"]["metadata"]
    assert "kubectl.kubernetes.io/restartedAt" in template["annotations"]
