"""A release of the chart and the definition in the cluster."""

from __future__ import annotations

import copy

from harness.api import Api, Json
from harness.helm import CHART, Helm, parsed, set_arguments
from harness.operator_process import DEFINITION
from harness.tenant import Tenant

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


class Definition:
    """The definition in the cluster, which tests may change or delete."""

    def __init__(self, api: Api) -> None:
        self._api = api
        (self.fresh,) = parsed(DEFINITION.read_text())

    def age(self) -> None:
        """Remove the last column, as if an older chart was installed."""
        old = copy.deepcopy(self.fresh)
        present = self.found()["metadata"]
        for name in ("labels", "annotations"):
            old["metadata"][name] = present.get(name, {})
        del old["spec"]["versions"][0]["additionalPrinterColumns"][-1]
        self._api.apply(old, "helm")
        assert not self.is_fresh()

    def delete(self) -> None:
        """Delete it, as on a new cluster."""
        self._api.delete(self.fresh)
        self._api.wait(*self._place, lambda found: found is None)

    def wait(self) -> None:
        """Wait until objects of it can be created."""
        self._api.wait(*self._place, _is_served)

    def restore(self) -> None:
        """Make it fresh and without an owner."""
        self._api.apply(self.fresh, "helm")
        self.wait()
        nothing: Json = {"metadata": {"labels": None, "annotations": None}}
        self._api.patch(self.fresh, nothing)

    def owner(self) -> str | None:
        """Name of the release that owns it."""
        annotations = self.found()["metadata"].get("annotations", {})
        name: str | None = annotations.get("meta.helm.sh/release-name")
        return name

    def is_fresh(self) -> bool:
        """Whether it is that of the chart."""
        return self._columns(self.found()) == self._columns(self.fresh)

    def found(self) -> Json:
        """The definition in the cluster. Raises ApiError."""
        return self._api.request("GET", self._api.path_of(self.fresh))

    @property
    def _place(self) -> tuple[str, str, None, str]:
        return "apiextensions.k8s.io/v1", "CustomResourceDefinition", None, self._name

    @property
    def _name(self) -> str:
        return str(self.fresh["metadata"]["name"])

    @staticmethod
    def _columns(definition: Json) -> list[str]:
        return [
            one["name"] for one in definition["spec"]["versions"][0]["additionalPrinterColumns"]
        ]


def _is_served(found: Json | None) -> bool:
    conditions = (found or {}).get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
