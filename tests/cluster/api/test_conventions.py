"""helm waits for models by kstatus; models are paused and restarted by annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import pod_states
from harness.api import Api, Json
from harness.fake_kubelet import FakeKubelet
from harness.helm import Helm, HelmError
from harness.models import API, APPS, KIND, condition, model, phase, reason, wait
from harness.nodes import on_node
from harness.run import Run
from harness.tenant import Tenant

Put = Callable[..., Json]

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def install(
    tenant: Tenant, api: Api, run: Run, tmp_path: Path
) -> Callable[[dict[str, Any], str], str]:
    """Install or upgrade a release that is one model, and wait for it for some seconds."""
    (tmp_path / "templates").mkdir()
    chart = {"apiVersion": "v2", "name": "one", "version": "1.0.0"}
    (tmp_path / "Chart.yaml").write_text(json.dumps(chart))
    helm = Helm(run.path("helm", "x").parent, api.kubeconfig)

    def release(manifest: dict[str, Any], timeout: str) -> str:
        (tmp_path / "templates" / "model.yaml").write_text(json.dumps(manifest))
        return helm(
            "upgrade", "--install", "one", str(tmp_path), "-n", tenant.namespace,
            "--wait", "--timeout", timeout,
        )  # fmt: skip

    return release


def test_helm_waits_for_the_version_it_applies(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    install: Callable[[dict[str, Any], str], str],
) -> None:
    add_node("waited")
    manifest = model("waited", **on_node("waited"))
    install(manifest, "180s")
    assert phase("Ready")(tenant.get(API, KIND, "waited"))
    kubelet.set_behaviour(
        lambda pod, ip: (
            pod_states.crash_loop(pod, ip, exit_code=137, reason="OOMKilled")
            if '"maxItems":7' in str(pod["spec"])
            else pod_states.running(pod, ip)
        )
    )
    manifest["spec"]["limits"] = {"maxItems": 7}
    with pytest.raises(HelmError, match="waited"):
        install(manifest, "15s")
    found = wait(tenant, "waited", reason("OutOfMemory"))
    assert condition(found, "Available")["status"] == "True"
    assert condition(found, "Stalled")["reason"] == "OutOfMemory"
    manifest["spec"] |= {"limits": {"maxItems": 8}, "stopped": True}
    install(manifest, "180s")
    found = tenant.get(API, KIND, "waited")
    assert (found["status"]["phase"], condition(found, "Ready")["status"]) == ("Stopped", "True")


def test_a_paused_model_is_left_alone(tenant: Tenant, put: Put) -> None:
    made = put("still")
    tenant.kubectl("annotate", "im/still", "modelfleet.dev/paused=true")
    tenant.api.patch(made, {"spec": {"limits": {"maxItems": 7}, "replicas": 2}})
    found = wait(tenant, "still", lambda m: condition(m, "Ready").get("reason") == "Paused")
    assert condition(found, "Paused")["status"] == "True"
    deployment = tenant.get(APPS, "Deployment", "still")
    assert deployment["metadata"]["generation"] == 1
    tenant.kubectl("delete", "service/still")
    tenant.kubectl("annotate", "im/still", "modelfleet.dev/paused-")
    found = wait(tenant, "still", lambda m: phase("Ready")(m) and "'2/2'" in str(m))
    assert condition(found, "Paused") == {}
    assert all('"maxItems":7' in str(pod["spec"]) for pod in tenant.items("v1", "Pod")
               if not pod["metadata"].get("deletionTimestamp"))  # fmt: skip
    assert tenant.get("v1", "Service", "still")


def test_an_annotation_restarts_the_servers(tenant: Tenant, put: Put) -> None:
    put("again")
    (before,) = tenant.items("v1", "Pod")
    tenant.kubectl("annotate", "im/again", "modelfleet.dev/restarted-at=2026-01-01")
    (after,) = tenant.wait_list(
        "v1", "Pod",
        lambda pods: len(pods) == 1 and pods[0]["metadata"]["uid"] != before["metadata"]["uid"],
    )  # fmt: skip
    assert after["metadata"]["annotations"]["modelfleet.dev/restarted-at"] == "2026-01-01"
    wait(tenant, "again", phase("Ready"))


def test_a_canary_that_fails_a_golden_check_gets_no_more_requests(
    tenant: Tenant, kubelet: FakeKubelet, put: Put
) -> None:
    put("old", traffic={"group": "test/old"})
    made = put("new", traffic={"group": "test/old", "weight": 10, "rise": {}})
    found = wait(tenant, "new", lambda m: condition(m, "Traffic").get("reason") == "Rising")
    assert found["status"]["traffic"]["weight"] == 10
    failed = '{"event": "load_failed", "stage": "golden", "message": "4 is not 5"}'
    kubelet.set_behaviour(
        lambda pod, ip: (
            pod_states.terminated(pod, ip, exit_code=3, reason="Error", message=failed)
            if '"maxItems":7' in str(pod["spec"])
            else pod_states.running(pod, ip)
        )
    )
    tenant.api.patch(made, {"spec": {"limits": {"maxItems": 7}}})
    found = wait(tenant, "new", lambda m: condition(m, "Traffic").get("reason") == "TakenBack")
    assert found["status"]["traffic"]["weight"] == 0
    message = "0% of the requests for 'test/old'. GoldenCheckFailed: 4 is not 5"
    assert condition(found, "Traffic")["message"] == message
    tenant.wait_list("v1", "Event", bool, fieldSelector="reason=TakenBack")
