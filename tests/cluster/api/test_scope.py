"""Several replicas, releases and shards of the operator, and namespaces that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from harness import operator_process
from harness.api import Api
from harness.fake_kubelet import FakeKubelet
from harness.models import API, APPS, KIND, condition, model, phase, reason, wait
from harness.operator_process import NAMESPACE, OperatorProcess
from harness.tenant import Tenant
from support.waiting import until

Another = Callable[..., OperatorProcess]
LEASES = "coordination.k8s.io/v1"


@pytest.fixture
def elsewhere(api: Api) -> Iterator[Tenant]:
    """A second namespace."""
    with Tenant(api, "elsewhere") as other:
        yield other


def leads(operator: OperatorProcess) -> bool:
    return "modelfleet_operator_leader 1.0" in operator.metrics()


def holder(tenant: Tenant) -> str:
    """The release that serves a namespace."""
    lease = tenant.get(LEASES, "Lease", "modelfleet-namespace")
    return str(lease["spec"]["holderIdentity"])


def test_another_replica_takes_over_when_the_leader_is_lost(
    tenant: Tenant,
    kubelet: FakeKubelet,
    another_operator: Another,
    api: Api,
    add_node: Callable[..., object],
) -> None:
    add_node("lost-leader")
    operator_process.grant(api)
    leader = another_operator()
    until(lambda: leads(leader))
    standby = another_operator()
    tenant.create(model("before"))
    wait(tenant, "before", phase("Ready"))
    assert leads(leader)
    assert "modelfleet_operator_leader 0.0" in standby.metrics()
    leader.kill()
    began = time.monotonic()
    tenant.create(model("after"))
    until(lambda: leads(standby))
    wait(tenant, "after", phase("Ready"))
    print(f"The other replica served after {time.monotonic() - began:.1f} s.")
    # One that is stopped hands over at once, and nothing is left behind.
    third = another_operator()
    standby.stop()
    until(lambda: leads(third))
    third.stop()
    assert "modelfleet-operator" not in {
        lease["metadata"]["name"] for lease in api.items(LEASES, "Lease", NAMESPACE)
    }


def test_leases_are_deleted_with_the_account_of_the_operator(
    another_operator: Another, api: Api
) -> None:
    """As on uninstall, where the operator has no rights any more when it ends."""
    operator_process.grant(api, account="uninstalled")
    killed = another_operator("uninstalled")
    with Tenant(api, "kept") as other:
        other.create(model("elsewhere", model="test/elsewhere"))
        until(lambda: other.items(LEASES, "Lease"))
        until(lambda: api.items(LEASES, "Lease", NAMESPACE))
        killed.kill()
        api.request("DELETE", api.path("v1", "ServiceAccount", NAMESPACE, "uninstalled"))
        until(lambda: not api.items(LEASES, "Lease", NAMESPACE))
        assert other.items(LEASES, "Lease")


def test_a_second_release_is_refused_with_a_condition(
    tenant: Tenant,
    elsewhere: Tenant,
    kubelet: FakeKubelet,
    another_operator: Another,
    api: Api,
    add_node: Callable[..., object],
) -> None:
    add_node("shared")
    operator_process.grant(api)
    operator_process.grant(api, account="second", own=elsewhere.namespace)
    another_operator()
    tenant.create(model("wanted"))
    wait(tenant, "wanted", phase("Ready"))
    assert holder(tenant) == NAMESPACE
    second = another_operator("second", POD_NAMESPACE=elsewhere.namespace)
    until(lambda: "modelfleet_operator_namespaces_refused 1.0" in second.metrics())
    assert holder(tenant) == NAMESPACE
    found = wait(tenant, "wanted", lambda m: condition(m, "NamespaceContested"))
    assert elsewhere.namespace in condition(found, "NamespaceContested")["message"]
    until(lambda: "namespace_refused" in second.log())
    # Where the first serves nothing, the second does.
    tenant.kubectl("delete", "inferencemodel/wanted")
    until(lambda: not tenant.items(LEASES, "Lease"))


def test_a_deleted_namespace_does_not_stop_the_others(
    tenant: Tenant,
    kubelet: FakeKubelet,
    another_operator: Another,
    api: Api,
    add_node: Callable[..., object],
) -> None:
    """A new operator starts although one of its namespaces and the Role in it are gone."""
    add_node("left")
    with Tenant(api, "deleted") as deleted:
        names = tenant.namespace, deleted.namespace
        operator_process.grant(api, names, account="two-namespaces")
    api.wait("v1", "Namespace", None, names[1], lambda found: found is None)
    single = another_operator("two-namespaces", WATCH_NAMESPACES=",".join(names))
    tenant.create(model("left"))
    wait(tenant, "left", phase("Ready"))
    assert single.is_ok("/readyz")
    until(lambda: "modelfleet_operator_namespaces_unreadable 1.0" in single.metrics())
    until(lambda: "namespace_unreadable" in single.log())


def test_the_older_of_two_models_keeps_its_id_in_all_namespaces(
    api: Api,
    tenant: Tenant,
    elsewhere: Tenant,
    operator: OperatorProcess,
    add_node: Callable[..., object],
) -> None:
    """Of two made in the same second, the first by namespace counts as older: `elsewhere`."""
    add_node("claimed")
    with FakeKubelet(api, elsewhere.namespace):
        elsewhere.create(model("first", model="test/claimed"))
        wait(elsewhere, "first", phase("Ready"))
        tenant.create(model("second", model="test/claimed"))
        found = wait(tenant, "second", reason("DuplicateModel"))
        assert found["status"]["phase"] == "Conflict"
        assert f"{elsewhere.namespace}/first" in condition(found, "Ready")["message"]
        assert tenant.items(APPS, "Deployment") == []
        assert elsewhere.get(API, KIND, "first")["status"]["phase"] == "Ready"
        elsewhere.kubectl("delete", "inferencemodel/first")
        tenant.wait(APPS, "Deployment", "second", bool)


def test_two_shards_serve_all_namespaces_between_them(
    api: Api, another_operator: Another, add_node: Callable[..., object]
) -> None:
    add_node("sharded")
    operator_process.grant(api)
    shards = [another_operator(SHARD=f"{index}/2") for index in range(2)]
    served: list[list[str]] = [[], []]
    with Tenant(api, "a") as a, Tenant(api, "b") as b, Tenant(api, "c") as c, Tenant(api, "d") as d:
        for each in (a, b, c, d):
            each.create(model("m", model=f"test/{each.namespace}"))
        for each in (a, b, c, d):
            each.wait(APPS, "Deployment", "m", bool)
            name, _, index = holder(each).partition("-system-")
            assert name == "modelfleet"
            served[int(index[0])].append(each.namespace)
        for index, shard in enumerate(shards):
            assert leads(shard)
            until(lambda shard=shard, index=index: models_of(shard) == len(served[index]))


def models_of(shard: OperatorProcess) -> float:
    """How many models an operator serves."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in shard.metrics().splitlines()
        if line.startswith("modelfleet_operator_models{")
    )


def test_a_label_moves_a_namespace_to_another_shard(
    api: Api,
    tenant: Tenant,
    kubelet: FakeKubelet,
    another_operator: Another,
    add_node: Callable[..., object],
) -> None:
    """Its pods stay, exactly one shard reconciles it, and nobody takes it for a conflict."""
    add_node("moved")
    operator_process.grant(api, shards=True)
    namespace = api.request("GET", api.path("v1", "Namespace", None, tenant.namespace))
    namespace = {"apiVersion": "v1", "kind": "Namespace", **namespace}

    def place(shard: str) -> None:
        api.patch(namespace, {"metadata": {"labels": {"modelfleet.dev/shard": shard}}})

    def served() -> list[float]:
        try:
            return [models_of(shard) for shard in shards if shard.is_ok("/readyz")]
        except httpx.HTTPError:  # one is starting again
            return []

    def move(old: int, new: int) -> None:
        assert holder(tenant) == f"{NAMESPACE}-{old}-of-2"
        place(str(new))
        expected = [float(index == new) for index in range(2)]
        until(lambda: served() == expected, state=shards[new].log)
        pause = f"modelfleet.dev/paused={new == 1}"
        tenant.kubectl("annotate", "inferencemodel/moved", pause, "--overwrite")
        found = wait(tenant, "moved", lambda m: bool(condition(m, "Paused")) == (new == 1))
        assert holder(tenant) == f"{NAMESPACE}-{new}-of-2"
        assert not condition(found, "NamespaceContested")

    place("0")
    shards = [another_operator(SHARD=f"{index}/2") for index in range(2)]
    pids = [shard.pid for shard in shards]
    tenant.create(model("moved"))
    wait(tenant, "moved", phase("Ready"))
    pods = {one["metadata"]["uid"] for one in tenant.items("v1", "Pod")}
    move(0, 1)
    move(1, 0)
    place("2")
    until(lambda: "shard_label_invalid" in shards[0].log() + shards[1].log())
    until(lambda: sorted(served()) == [0.0, 1.0])
    assert {one["metadata"]["uid"] for one in tenant.items("v1", "Pod")} == pods
    assert [shard.pid for shard in shards] == pids
