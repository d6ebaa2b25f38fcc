"""The chart on the real node: installed with documented values, tried by `helm test`, upgraded,
removed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from harness.control_plane import ControlPlane
from harness.helm import CHART, Helm, HelmError, given
from harness.mirror import Mirror
from harness.netns import Namespace
from harness.run import Run
from harness.tenant import Tenant

SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}}
MODELS = {
    "smollm2": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "resources": SMALL},
    "minilm": {"model": "sentence-transformers/all-MiniLM-L6-v2", "resources": SMALL},
    "whisper": {"model": "openai/whisper-base", "resources": SMALL},
}
ROUTER = "fleet-modelfleet-router"


@pytest.fixture(scope="session")
def helm(run: Run, control_plane: ControlPlane, pod_network: Namespace) -> Helm:
    """helm as the administrator of the node's cluster."""
    with pod_network.outside():
        return Helm(run.path("helm", "x").parent, control_plane.kubeconfig)


@pytest.fixture
def values(image: Callable[[str], str], package_mirror: Mirror) -> dict[str, Any]:
    """A closed network: images that are there already, weights from an index inside."""
    return {
        "operator.image": image("operator"),
        "router.image": image("router"),
        "server.cpuImage": image("server"),
        "test.image": image("client"),
        "test.require": ["chat", "embedding", "speech"],
        "server.mirrors": {
            "pypiIndexUrl": package_mirror.environ["PIP_INDEX_URL"],
            "pypiTrustedHost": package_mirror.environ["PIP_TRUSTED_HOST"],
        },
        "router.drainSeconds": 10,
        "operator.drainSeconds": 10,
        "models": MODELS,
    }


def test_life(helm: Helm, tenant: Tenant, alone: None, values: dict[str, Any]) -> None:
    def run(verb: str, *arguments: str, **more: Any) -> str:
        chart = [str(CHART), *given(values | more)] if verb in ("install", "upgrade") else []
        place = ["-n", tenant.namespace]
        return helm(verb, "fleet", *chart, *place, *arguments, timeout=900)

    waiting = ("--wait", "--timeout=600s")
    run("install", *waiting)
    ready = tenant.items("modelfleet.dev/v1alpha1", "InferenceModel")
    assert {item["metadata"]["name"]: item["status"]["phase"] for item in ready} == dict.fromkeys(
        MODELS, "Ready"
    )
    told = run("test", "--logs", "--timeout=600s")
    assert "walk in the park" in told

    key = secrets.token_hex(16)
    tenant.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "test-key"},
                   "stringData": {"API_KEY": key}})  # fmt: skip
    keys = [{"name": "test", "sha256": hashlib.sha256(key.encode()).hexdigest()}]
    asked = {"apiKeys.keys": keys, "router.replicas": 3}
    run("upgrade", *waiting, **asked, **{"test.apiKeySecret": "test-key"})
    address = tenant.get("v1", "Service", ROUTER)["spec"]["clusterIP"]
    refused = httpx.get(f"http://{address}/v1/models", trust_env=False)
    assert refused.status_code == 401
    run("test", "--timeout=600s")

    run("upgrade", *waiting, **asked)
    with pytest.raises(HelmError, match=r"FAILED: AuthenticationError: .*not known here"):
        run("test", "--logs", "--timeout=600s")

    run("rollback", "1", *waiting)
    assert httpx.get(f"http://{address}/v1/models", trust_env=False).status_code == 200
    run("uninstall", *waiting)
    tenant.wait_list("v1", "Pod", lambda pods: not pods, timeout=120)
    for version, kind in (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap")):
        left = {item["metadata"]["name"] for item in tenant.items(version, kind)}
        assert left <= {"kube-root-ca.crt"}
