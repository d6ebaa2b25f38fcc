"""A release on a real API server: install, upgrade, roll back, uninstall.

Nodes and pods are simulated, but the command of the Job that upgrades the definition runs with the
token of its ServiceAccount, and its exit status becomes that of the pod.
"""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import yaml

from harness import kubeconfig, pod_states
from harness.api import Api, ApiError, Json
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.helm import CHART, Helm, HelmError, set_arguments
from harness.operator_process import DEFINITION
from harness.tenant import Tenant
from support.waiting import until

MODELFLEET = "from fleet_cli.main import main; main()"
RBAC = "rbac.authorization.k8s.io/v1"
KEPT_OBJECTS = frozenset({"kube-root-ca.crt", "default"})
CLUSTER_SCOPED = (
    (RBAC, "ClusterRole"),
    (RBAC, "ClusterRoleBinding"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
)
NAMESPACED = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("modelfleet.dev/v1alpha1", "InferenceModel"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    (RBAC, "Role"),
    (RBAC, "RoleBinding"),
)


class Release:
    """The release `fleet` in its own namespace."""

    def __init__(self, helm: Helm, tenant: Tenant) -> None:
        self._helm = helm
        self.tenant = tenant

    def __call__(self, verb: str, *arguments: str, values: Json | None = None) -> str:
        chart = [str(CHART)] if verb in ("install", "upgrade") else []
        command = [
            verb,
            "fleet",
            *chart,
            "-n",
            self.tenant.namespace,
            *set_arguments(values),
            *arguments,
        ]
        return self._helm(*command)

    def image(self, component: str) -> str:
        """The image of a Deployment."""
        found = self.tenant.get("apps/v1", "Deployment", f"fleet-modelfleet-{component}")
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def objects(self) -> list[str]:
        """All objects in the namespace, and cluster-scoped ones with its name."""
        found = [
            f"{kind}/{item['metadata']['name']}"
            for version, kind in NAMESPACED
            for item in self.tenant.items(version, kind)
            if item["metadata"]["name"] not in KEPT_OBJECTS
        ]
        for version, kind in CLUSTER_SCOPED:
            names = [item["metadata"]["name"] for item in self.tenant.api.items(version, kind)]
            found += [f"{kind}/{name}" for name in names if self.tenant.namespace in name]
        return found


class Hooks:
    """Simulates the kubelet for the release's pods and runs the command of the definition's Job."""

    def __init__(self, plane: ControlPlane, tenant: Tenant) -> None:
        self._plane = plane
        self._tenant = tenant
        self.reaches_the_server = True
        self.ran: list[subprocess.CompletedProcess[str]] = []

    def __call__(self, pod: Json, address: str) -> Json:
        account = pod["spec"]["serviceAccountName"]
        if not account.endswith("-crd"):
            return pod_states.running(pod, address)
        path = self._tenant.api.path("v1", "ServiceAccount", self._tenant.namespace, account)
        token = self._tenant.api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
        config = self._plane.kubeconfig_with("crd", token)
        if not self.reaches_the_server:
            kubeconfig.write(config, "https://127.0.0.1:9", self._plane.authority, token)
        (container,) = pod["spec"]["containers"]
        done = subprocess.run(
            [sys.executable, "-c", MODELFLEET, *container["args"], "--patience=5"],
            capture_output=True,
            text=True,
            env={"KUBECONFIG": str(config), "HOME": "/nonexistent"},
        )
        self.ran.append(done)
        good = done.returncode == 0
        reason = "Completed" if good else "Error"
        status = pod_states.terminated(pod, address, exit_code=done.returncode, reason=reason)
        return {**status, "phase": "Succeeded" if good else "Failed"}


@pytest.fixture
def release(
    helm: Helm, kinds: list[Json], restricted: Tenant, add_node: Callable[..., Json]
) -> Release:
    add_node("chart-node", cpu="8")
    return Release(helm, restricted)


@pytest.fixture
def hooks(control_plane: ControlPlane, api: Api, restricted: Tenant) -> Iterator[Hooks]:
    hooks = Hooks(control_plane, restricted)
    with FakeKubelet(api, restricted.namespace, hooks):
        yield hooks


class Definition:
    """The definition in the cluster, which can be made older than the chart's."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.fresh = yaml.safe_load(DEFINITION.read_text())

    def age(self) -> None:
        """Remove the last column, as if an older chart was installed."""
        old = copy.deepcopy(self.fresh)
        del old["spec"]["versions"][0]["additionalPrinterColumns"][-1]
        self._api.apply(old, "helm")
        assert self.columns() != self.columns(self.fresh)

    def columns(self, definition: Json | None = None) -> list[str]:
        """Names of the columns, by default of the definition in the cluster."""
        found = definition or self._api.request("GET", self._api.path_of(self.fresh))
        return [one["name"] for one in found["spec"]["versions"][0]["additionalPrinterColumns"]]


@pytest.fixture
def definition(api: Api, kinds: list[Json]) -> Iterator[Definition]:
    found = Definition(api)
    yield found
    api.apply(found.fresh, "helm")


MODELS = {"smollm2": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}}


def test_install_upgrade_rollback_uninstall(
    release: Release, hooks: Hooks, definition: Definition
) -> None:
    wait = ("--wait", "--timeout=120s")
    notes = release("install", *wait, values={"models": MODELS})
    assert "wait --for=condition=Ready" in notes
    (model,) = release.tenant.items("modelfleet.dev/v1alpha1", "InferenceModel")
    assert MODELS["smollm2"].items() <= model["spec"].items()
    assert not hooks.ran

    definition.age()
    changed = {"image.tag": "9.9.9", "router.replicas": 3, "models": MODELS}
    release("upgrade", *wait, values=changed)
    assert release.image("router") == "modelfleet-router:9.9.9"
    (upgraded,) = hooks.ran
    assert upgraded.returncode == 0, upgraded.stderr
    assert definition.columns() == definition.columns(definition.fresh)
    assert not [name for name in release.objects() if name.endswith("-crd")]

    release("rollback", "1", *wait)
    assert release.image("router") == "modelfleet-router:0.1.0"
    replicas = release.tenant.get("apps/v1", "Deployment", "fleet-modelfleet-router")
    assert replicas["spec"]["replicas"] == 2

    release("uninstall", *wait)
    release.tenant.wait_list("apps/v1", "ReplicaSet", lambda items: not items)
    assert release.objects() == []
    assert definition.columns(), "uninstalling keeps the definition and all models"


def test_a_failed_upgrade_of_the_definition_changes_nothing(release: Release, hooks: Hooks) -> None:
    release("install", "--wait", "--timeout=120s")
    hooks.reaches_the_server = False
    with pytest.raises(HelmError, match="pre-upgrade"):
        release("upgrade", "--timeout=120s", values={"image.tag": "9.9.9"})
    assert hooks.ran
    assert all(done.returncode == 1 for done in hooks.ran)
    assert release.image("router") == "modelfleet-router:0.1.0"
    assert not [name for name in release.objects() if name.startswith("ClusterRole")]
    release("uninstall", "--wait", "--timeout=60s")


def test_a_second_release_in_a_namespace_is_rejected(release: Release, helm: Helm) -> None:
    release("install")
    with pytest.raises(HelmError, match="modelfleet-profiles"):
        helm("install", "second", str(CHART), "-n", release.tenant.namespace)
    release("uninstall")


def test_the_router_may_change_one_annotation_only(
    release: Release, control_plane: ControlPlane
) -> None:
    release("install", values={"models": MODELS})
    tenant, account = release.tenant, "fleet-modelfleet-router"
    path = tenant.api.path("v1", "ServiceAccount", tenant.namespace, account)
    token = tenant.api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
    (model,) = tenant.items("modelfleet.dev/v1alpha1", "InferenceModel")
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
    release("uninstall", "--wait", "--timeout=60s")


def wait_for_policy(router: Api, model: Json) -> None:
    """A new policy takes effect after a moment; each attempt is a different change."""
    replicas = itertools.count(2)

    def is_rejected() -> bool:
        try:
            router.patch(model, {"spec": {"replicas": next(replicas)}})
        except ApiError:
            return True
        return False

    until(is_rejected, seconds=30, every=0.1)
