"""Checked traffic through the router's Service while the cluster changes beneath it.

No request fails and none is cut off, whatever is rolled out, scaled, restarted or killed. Two
servers each of a chat and an embedding model, one of a speech model, two routers.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from harness import installation, volumes
from harness.api import Api, Json
from harness.kubectl import Kubectl
from harness.models import APPS, model
from harness.netns import Namespace
from harness.operator_process import NAMESPACE
from harness.tenant import Tenant
from traffic import ChatStream, Driver, Embeddings, Kind, Plan, Report, Transcription, WholeChat

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}}
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
OF_MODEL = "modelfleet.dev/inferencemodel"
READY_SECONDS = 300.0


@dataclass
class Served:
    """A namespace with the fleet, and the address of its routers' Service."""

    tenant: Tenant
    url: str

    def pods(self, label: str) -> list[Json]:
        """Pods that are not being deleted."""
        found = self.tenant.items("v1", "Pod", labelSelector=label)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def settled(self, label: str, count: int, without: Set[str] = frozenset()) -> None:
        """Until there are just `count` pods, all ready and none of those named."""

        def holds(pods: list[Json]) -> bool:
            names = {pod["metadata"]["name"] for pod in pods}
            return len(pods) == count and not names & without and all(map(is_ready, pods))

        self.tenant.wait_list("v1", "Pod", holds, READY_SECONDS, labelSelector=label)


def is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def names(pods: list[Json]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


@pytest.fixture(scope="module")
def served(
    api: Api,
    operator: None,
    image: Callable[[str], str],
    pod_network: Namespace,
    demo_weights: Callable[[str], Path],
) -> Iterator[Served]:
    """The fleet, ready."""
    with pod_network.outside():
        folders = {name: demo_weights(name) for name in (CHAT, EMBEDDING, SPEECH)}
    with Tenant(api, "test_traffic", RESTRICTED, played=False) as tenant:
        volume, claim = volumes.claim("models", tenant.namespace, folders[CHAT].parent)
        api.create(volume)
        tenant.create(claim)
        for name, model_id, replicas in (
            ("smollm2", CHAT, 2),
            ("minilm", EMBEDDING, 2),
            ("whisper", SPEECH, 1),
        ):
            source = f"pvc://models/{folders[model_id].name}"
            fields: Json = {"model": model_id, "source": source, "resources": SMALL}
            tenant.kubectl.apply(model(name, replicas=replicas, **fields))
        url = installation.install_router(tenant, image("router"), replicas=2)
        fleet = Served(tenant, url)
        for name, replicas in (("smollm2", 2), ("minilm", 2), ("whisper", 1)):
            fleet.settled(f"{OF_MODEL}={name}", replicas)
        yield fleet
    api.delete(volume)


Traffic = Callable[..., AbstractContextManager[Driver]]


@pytest.fixture
def traffic(served: Served, spoken: bytes) -> Traffic:
    """`with traffic() as driver`: at its end there must have been no failure.

    Connections are kept, as clients keep them. With `begun=False` no answer begins before it is
    complete: only such a request can be sent again.
    """
    reports = os.environ.get("TRAFFIC_REPORTS")

    @contextmanager
    def run(begun: bool = True) -> Iterator[Driver]:
        kinds: list[Kind] = [WholeChat(CHAT, 24, "Paris"), Embeddings(EMBEDDING, 384)]
        if begun:
            kinds += [ChatStream(CHAT, 12, "Paris"), Transcription(SPEECH, spoken, ("capital",))]
        plan = Plan(served.url, rate=2 if begun else 8, at_once=4, patience=200)
        with Driver(plan, kinds) as driver:
            driver.flow(len(kinds), seconds=READY_SECONDS)
            with driver.mark("change"):
                yield driver
                driver.flow(2 * len(kinds), seconds=READY_SECONDS)
        report = driver.report()
        if reports:
            write(Path(reports), report)
        assert report.clean, report

    return run


def write(folder: Path, report: Report) -> None:
    """Keep the figures, for the docs."""
    name = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].split()[0]
    (folder / f"{name}.json").write_text(json.dumps(report.as_json(), indent=1))


def patch(served: Served, name: str, **spec: object) -> None:
    body = json.dumps({"spec": spec})
    served.tenant.kubectl("patch", "inferencemodel", name, "--type=merge", "-p", body)


def test_rollouts_of_models(served: Served, traffic: Traffic) -> None:
    old = {name: names(served.pods(f"{OF_MODEL}={name}")) for name in ("smollm2", "minilm")}
    with traffic():
        for name in old:
            patch(served, name, env={"ROLLED": "out"})
        for name, pods in old.items():
            served.settled(f"{OF_MODEL}={name}", 2, without=pods)


def test_scaling_down_and_up(served: Served, traffic: Traffic) -> None:
    with traffic():
        for replicas in (1, 2):
            for name in ("smollm2", "minilm"):
                patch(served, name, replicas=replicas)
            for name in ("smollm2", "minilm"):
                served.settled(f"{OF_MODEL}={name}", replicas)


def test_a_restart_of_the_routers(served: Served, traffic: Traffic) -> None:
    label = f"app={installation.ROUTER}"
    old = names(served.pods(label))
    with traffic():
        served.tenant.kubectl("rollout", "restart", f"deployment/{installation.ROUTER}")
        served.settled(label, 2, without=old)


def test_a_restart_of_the_operator(api: Api, served: Served, traffic: Traffic) -> None:
    system = Kubectl(api.kubeconfig, NAMESPACE)
    deployment = f"deployment/{installation.OPERATOR}"
    with traffic():
        system("rollout", "restart", deployment)
        system("rollout", "status", deployment, "--timeout=200s", timeout=220)
        patch(served, "minilm", env={"ROLLED": "by the new operator"})
        old = names(served.pods(f"{OF_MODEL}=minilm"))
        served.settled(f"{OF_MODEL}=minilm", 2, without=old)


def test_pods_deleted_while_they_work(served: Served, traffic: Traffic) -> None:
    with traffic() as driver:
        driver.await_under_way(2)
        victims = [served.pods(f"{OF_MODEL}={name}")[0] for name in ("smollm2", "minilm")]
        for name in names(victims):
            served.tenant.kubectl("delete", "pod", name, "--wait=false")
        for name in ("smollm2", "minilm"):
            served.settled(f"{OF_MODEL}={name}", 2, without=names(victims))


def test_servers_killed_before_the_first_byte(served: Served, traffic: Traffic) -> None:
    routers = served.pods(f"app={installation.ROUTER}")
    before = sum(metric(pod, "modelfleet_router_retries_total") for pod in routers)
    with traffic(begun=False):
        for name in ("smollm2", "minilm"):
            pod = served.pods(f"{OF_MODEL}={name}")[0]
            if name == "smollm2":  # an embedding takes less time than asking what runs
                busy(pod)
            kill(pod)
            served.tenant.wait("v1", "Pod", pod["metadata"]["name"], restarted, READY_SECONDS)
    assert sum(metric(pod, "modelfleet_router_retries_total") for pod in routers) > before


def busy(pod: Json) -> None:
    """Until its server works on a request."""
    deadline = time.monotonic() + 60
    while not metric(pod, "modelfleet_in_flight"):
        assert time.monotonic() < deadline, "no request came"
        time.sleep(0.01)


def metric(pod: Json, name: str) -> float:
    """The sum of a metric's series in a pod."""
    url = f"http://{pod['status']['podIP']}:8000/metrics"
    lines = httpx.get(url, timeout=30, trust_env=False).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


def restarted(pod: Json | None) -> bool:
    statuses = (pod or {}).get("status", {}).get("containerStatuses", [])
    return bool(pod) and is_ready(pod) and any(one["restartCount"] for one in statuses)


def kill(pod: Json) -> None:
    """SIGKILL for the server in a pod of this node: no drain, no farewell."""
    uid, killed = pod["metadata"]["uid"], 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = uid in (folder / "cgroup").read_text()
            server = b"modelfleet" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if inside and server:
            os.kill(int(folder.name), signal.SIGKILL)
            killed += 1
    assert killed, f"no process of {pod['metadata']['name']} was found"


def test_deployments_are_as_they_should_be(served: Served) -> None:
    """After all that."""
    for name in ("smollm2", "minilm", "whisper"):
        found = served.tenant.get(APPS, "Deployment", name)
        assert found["status"].get("unavailableReplicas", 0) == 0
