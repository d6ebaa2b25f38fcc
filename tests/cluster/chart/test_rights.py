"""What users of a release may do: aggregated roles and the policy on pod templates.

The users are ServiceAccounts that are bound to the cluster's own roles in one namespace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from harness.api import Api, ApiError, Json
from harness.control_plane import ControlPlane
from harness.helm import CHART, Helm, set_arguments
from harness.tenant import Tenant
from support.pod_template_cases import ALLOWED, MALFORMED, REFUSED
from support.waiting import until

RBAC = "rbac.authorization.k8s.io/v1"
MODEL = "modelfleet.dev/v1alpha1"
BAD = {"spec": {"serviceAccountName": "operator"}}
User = Callable[[str], Api]


def model(namespace: str, name: str = "m", **spec: Any) -> Json:
    return {
        "apiVersion": MODEL,
        "kind": "InferenceModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": f"acme/{name}", **spec},
    }


def dry_run(api: Api, manifest: Json) -> None:
    """Create without storing. Raises ApiError."""
    path = api.path_of(manifest).rsplit("/", 1)[0]
    api.request("POST", path, manifest, params={"dryRun": "All"})


def refusal(api: Api, manifest: Json) -> str:
    """Why the API server refuses to create the object, "" if it does not."""
    try:
        dry_run(api, manifest)
    except ApiError as error:
        return str(error)
    return ""


@pytest.fixture
def models(api: Api) -> Iterator[Tenant]:
    """A namespace for models only."""
    with Tenant(api, "models") as mine:
        yield mine


@pytest.fixture
def upgrade(helm: Helm, restricted: Tenant, models: Tenant) -> Iterator[Callable[..., None]]:
    """Install the release, or change its values."""
    values = {
        "modelNamespace.name": models.namespace,
        "hfToken.existingSecret": "hub",
        "crds.enabled": False,
    }

    def apply(**more: Any) -> None:
        helm("upgrade", "--install", "fleet", str(CHART), "-n", restricted.namespace,
             *set_arguments({**values, **more}))  # fmt: skip

    yield apply
    helm("uninstall", "fleet", "-n", restricted.namespace, "--wait", "--timeout=180s")


@pytest.fixture
def user(control_plane: ControlPlane, models: Tenant) -> Iterator[User]:
    """Create a user with a role of the cluster in the namespace of models."""
    with ExitStack() as stack:

        def create(role: str) -> Api:
            subject = {"kind": "ServiceAccount", "name": role, "namespace": models.namespace}
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": role}}
            models.create(account)
            models.create({
                "apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                            "name": role},
                "subjects": [subject],
            })  # fmt: skip
            path = models.api.path("v1", "ServiceAccount", models.namespace, role)
            token = models.api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
            config = control_plane.kubeconfig_with(f"{role}-user", token, models.namespace)
            return stack.enter_context(Api(config))

        yield create


def is_allowed(api: Api, namespace: str, verb: str, resource: str) -> bool:
    """Whether the API's user may do this, as `kubectl auth can-i` finds out."""
    name, _, sub = resource.partition("/")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {
            "resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": "modelfleet.dev",
                "resource": name, "subresource": sub,
            }
        },
    }  # fmt: skip
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool(api.request("POST", path, review)["status"]["allowed"])


def test_the_roles_of_the_cluster_include_models(
    upgrade: Callable[..., None], models: Tenant, restricted: Tenant, user: User, kinds: list[Json]
) -> None:
    upgrade()
    reads = {("get", "inferencemodels"), ("watch", "inferencemodels"),
             ("get", "inferencemodels/status"), ("get", "inferencemodels/scale")}  # fmt: skip
    writes = {
        ("create", "inferencemodels"),
        ("patch", "inferencemodels"),
        ("deletecollection", "inferencemodels"),
        ("patch", "inferencemodels/scale"),
    }
    status = ("patch", "inferencemodels/status")
    for role, expected in (("view", reads), ("edit", reads | writes), ("admin", reads | writes)):
        mine = user(role)
        namespace = models.namespace
        # The controller of the cluster adds the rules after a moment.
        until(lambda: is_allowed(mine, namespace, *min(expected)), seconds=30, every=0.1)  # noqa: B023
        found = {one for one in {*reads, *writes, status} if is_allowed(mine, namespace, *one)}
        assert found == expected, role
        assert not is_allowed(mine, restricted.namespace, "get", "inferencemodels")


def test_without_aggregation_the_roles_stay_as_they_are(
    upgrade: Callable[..., None], api: Api, restricted: Tenant, kinds: list[Json]
) -> None:
    def roles() -> list[str]:
        names = (item["metadata"]["name"] for item in api.items(RBAC, "ClusterRole"))
        return [name for name in names if restricted.namespace in name]

    upgrade()
    assert len(roles()) == 2
    upgrade(**{"rbac.aggregate": False})
    assert roles() == []


def wait_for_policy(author: Api, namespace: str, refuses: bool = True) -> None:
    """A policy takes effect, or ends, after a moment."""
    bad = model(namespace, podTemplate=BAD)
    until(lambda: bool(refusal(author, bad)) is refuses, seconds=30, every=0.1)


def test_pod_templates_are_restricted(
    upgrade: Callable[..., None], api: Api, models: Tenant, restricted: Tenant, user: User,
    kinds: list[Json],
) -> None:  # fmt: skip
    old = models.create(model(models.namespace, "old", podTemplate=BAD))
    upgrade()
    author = user("edit")
    until(lambda: is_allowed(author, models.namespace, "create", "inferencemodels"), seconds=30)
    wait_for_policy(author, models.namespace)

    wrong = {}
    for case, (template, named) in REFUSED.items():
        why = refusal(author, model(models.namespace, podTemplate=template))
        if "denied request: " not in why or not re.search(named, why.partition("denied")[2]):
            wrong[case] = why
    assert wrong == {}
    accepted = [case for case, template in MALFORMED.items()
                if not refusal(author, model(models.namespace, podTemplate=template))]  # fmt: skip
    assert accepted == []
    for case, template in ALLOWED.items():
        assert refusal(author, model(models.namespace, podTemplate=template)) == "", case
    administrator = refusal(api, model(restricted.namespace, podTemplate=BAD))
    assert "serviceAccountName is not allowed" in administrator

    # A resource that is older than the policy can be changed elsewhere, and mended.
    author.patch(old, {"metadata": {"labels": {"team": "a"}}, "spec": {"replicas": 2}})
    changed = {"serviceAccountName": None, "nodeName": "a"}
    with pytest.raises(ApiError, match="nodeName is not allowed"):
        author.patch(old, {"spec": {"podTemplate": {"spec": changed}}})
    author.patch(old, {"spec": {"podTemplate": None}})
    with pytest.raises(ApiError, match="serviceAccountName is not allowed"):
        author.patch(old, {"spec": {"podTemplate": BAD}})

    name = f"{restricted.namespace}-fleet-modelfleet-pod-templates"
    policy = api.wait(
        "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", None, name,
        lambda found: found and "typeChecking" in found.get("status", {}),
    )  # fmt: skip
    assert "expressionWarnings" not in policy["status"]["typeChecking"]

    upgrade(podTemplates="full")
    wait_for_policy(author, models.namespace, refuses=False)


def test_a_release_restricts_its_own_namespaces_only(
    upgrade: Callable[..., None], api: Api, models: Tenant, kinds: list[Json]
) -> None:
    upgrade()
    wait_for_policy(api, models.namespace)
    with Tenant(api, "elsewhere") as elsewhere:
        assert refusal(api, model(elsewhere.namespace, podTemplate=BAD)) == ""


def test_models_may_not_refer_to_secrets_of_the_platform(
    upgrade: Callable[..., None], api: Api, models: Tenant, restricted: Tenant, kinds: list[Json]
) -> None:
    upgrade()
    wait_for_policy(api, models.namespace)

    def variable(name: str) -> Json:
        reference = {"valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}
        return {"env": {"PLAIN": "text", "A": reference}}

    def variables(name: str) -> Json:
        return {"envFrom": [{"secretRef": {"name": name}}]}

    def bucket(name: str) -> Json:
        return {"source": "s3://b/m", "s3": {"secretRef": {"name": name}}}

    config = {
        "env": {"A": {"valueFrom": {"configMapKeyRef": {"name": "hub", "key": "k"}}}},
        "envFrom": [{"configMapRef": {"name": "hub"}}],
    }
    for namespace in (models.namespace, restricted.namespace):
        assert refusal(api, model(namespace, env={"A": "b"})) == ""
        assert refusal(api, model(namespace, **config)) == ""
        for given in (variable("hub"), variables("hub"), bucket("hub")):
            assert "may not refer to Secrets" in refusal(api, model(namespace, **given))
    for given in (variable("own"), variables("own"), bucket("own")):
        assert refusal(api, model(models.namespace, **given)) == ""
        assert "may not refer to Secrets" in refusal(api, model(restricted.namespace, **given))
