"""Installs operator and router as pods of the real node, with minimal RBAC rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import yaml

from harness import operator_process, pods
from harness.api import Api, Json
from harness.operator_process import ACCOUNT, NAMESPACE
from harness.paths import REPOSITORY
from harness.tenant import Tenant

OPERATOR = "modelfleet-operator"
ROUTER = "modelfleet-router"
APPS = "apps/v1"
READY_SECONDS = 300.0
DRAIN_SECONDS = 120
"""Time for running requests of terminating pods, as in the chart; a busy machine is slow."""
_RBAC = "rbac.authorization.k8s.io"

_ROUTER_RULES = REPOSITORY / "services" / "fleet_router" / "rbac.yaml"


def install_operator(
    api: Api, image: str, server_image: str, labels: dict[str, str], **settings: str
) -> None:
    """Deploy the operator for the whole cluster and wait until it is ready."""
    operator_process.install(api)
    operator_process.grant(api)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    api.patch(namespace, {"metadata": {"labels": labels}})
    environ = {
        "SERVER_IMAGE_CPU": server_image,
        "IMAGE_PULL_POLICY": "IfNotPresent",
        "AUTOSCALE_INTERVAL": "1",
        "RESYNC_INTERVAL": "10",
        "POD_DRAIN_SECONDS": str(DRAIN_SECONDS),
        **settings,
    }
    manifest = pods.deployment(
        OPERATOR,
        image,
        environ=environ,
        ports=[{"name": "http", "containerPort": 8080}],
        readinessProbe=_probe("/readyz"),
        startupProbe=_probe("/healthz") | {"failureThreshold": 120},
        livenessProbe=_probe("/healthz") | {"periodSeconds": 10, "timeoutSeconds": 5},
    )
    manifest["metadata"]["namespace"] = NAMESPACE
    manifest["spec"]["strategy"] = {"type": "Recreate"}
    _with_account(manifest, ACCOUNT)
    api.apply(manifest)
    api.wait(APPS, "Deployment", NAMESPACE, OPERATOR, available(1), READY_SECONDS)


def install_router(tenant: Tenant, image: str, replicas: int = 1) -> str:
    """Deploy a router in the tenant's namespace; the URL of its Service once it is ready."""
    tenant.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ROUTER}})
    name = {"name": ROUTER}
    rules = yaml.safe_load(_ROUTER_RULES.read_text())["watched"]
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": name, "rules": rules}
    tenant.apply(role)
    tenant.apply(
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": ROUTER},
            "subjects": [{"kind": "ServiceAccount", "name": ROUTER, "namespace": tenant.namespace}],
        }
    )
    # As in the chart: Services drop a terminating router before it stops listening.
    leave = {"preStop": {"sleep": {"seconds": 5}}}
    environ = {"DRAIN_TIMEOUT": str(DRAIN_SECONDS), "ALLOW_UNAUTHENTICATED": "1"}
    manifest = pods.deployment(
        ROUTER, image, environ=environ, lifecycle=leave,
        readinessProbe=_probe("/readyz") | {"periodSeconds": 2, "timeoutSeconds": 5},
    )  # fmt: skip
    pod = manifest["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 5 + DRAIN_SECONDS + 15
    manifest["spec"]["replicas"] = replicas
    manifest["spec"]["template"]["metadata"]["labels"] |= {
        "app.kubernetes.io/name": "modelfleet",
        "app.kubernetes.io/component": "router",
    }
    tenant.apply(_with_account(manifest, ROUTER))
    service = tenant.apply(pods.service(ROUTER))
    tenant.wait(APPS, "Deployment", ROUTER, available(replicas), READY_SECONDS)
    return f"http://{service['spec']['clusterIP']}"


@contextmanager
def paused_operator(api: Api) -> Iterator[None]:
    """Scale the operator of `install_operator`, if there is one, to zero within the block."""
    running = [one for one in api.items(APPS, "Deployment") if one["metadata"]["name"] == OPERATOR]

    def scale(count: int) -> None:
        for one in running:
            api.patch(one, {"spec": {"replicas": count}})
            api.wait(APPS, "Deployment", NAMESPACE, OPERATOR, available(count), READY_SECONDS)

    scale(0)
    yield
    scale(1)


def available(count: int) -> Callable[[Json | None], bool]:
    """Predicate: a Deployment has `count` available replicas, all of its current version."""

    def holds(item: Json | None) -> bool:
        if not item or item["status"].get("observedGeneration") != item["metadata"]["generation"]:
            return False
        found = [item["status"].get(f"{kind}Replicas", 0) for kind in ("available", "updated")]
        return found == [count, count]

    return holds


def _with_account(manifest: Json, account: str) -> Json:
    pod = manifest["spec"]["template"]["spec"]
    pod |= {"serviceAccountName": account, "automountServiceAccountToken": True}
    return manifest


def _probe(path: str) -> Json:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 3}
