"""The operator with many InferenceModels: seconds, memory and API calls, with a real API server.

    python tests/bench/operator_scale.py 100 500 1000
    python tests/bench/operator_scale.py 1000 --bare --requests-per-second 500
    python tests/bench/operator_scale.py 3000 --foreign-pods 10000 --nodes 200

Pods exist in the API only and are ready as soon as they are scheduled (the simulated kubelet of
tests/cluster), so the measurement covers the control plane and the operator on this machine.
`--bare` creates the same Deployments and Services again without InferenceModels and operator, to
measure the control plane alone. Kubernetes' controllers send at most 20 requests per second to the
API server, the scheduler 50; `--requests-per-second` raises this limit. `--foreign-pods` first
creates pods of others, of 8 kB each, on `--nodes` nodes with GPUs, and measures the start of an
operator for the whole cluster. Needs root or `unshare --user --map-root-user`, like the API tier of
tests/cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from cpu_shares import CpuShares

from harness import leftovers, nodes, operator_process, tiers
from harness.api import Api, Json
from harness.binaries import CONTROL_PLANE, program
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.models import API, APPS, KIND, model
from harness.netns import NODE_ADDRESS, Namespace
from harness.operator_process import OperatorProcess
from harness.run import Run
from harness.tenant import Tenant
from support import waiting

until = partial(waiting.until, seconds=1800, every=0.5)
IDLE_SECONDS = 30.0
SCRAPED_MODELS = 600
"""Models of which the metrics are read in a second, so that reading them is no part of the load: of
3,000 models every five seconds, three times as often as Prometheus does by default."""
WRITERS = 4
BARE_WRITERS = 16
"""Concurrent creations without the operator, so that they use all of the machine too."""
PODS_OF_A_NODE = 1000
STANDARD = {"RESYNC_INTERVAL": "30", "PROBE_INTERVAL": "1", "AUTOSCALE_INTERVAL": "2"}
"""The default intervals; those of the tests are shorter."""


@dataclass(frozen=True)
class Result:
    """Seconds since the first resource was created, MiB, calls per resource."""

    models: int
    created: float
    children: float
    settled: float
    cpu: float
    memory: float
    calls: float
    idle_percent: float
    idle_writes: int
    restart: float

    HEADER = (
        "| InferenceModels | created | children exist | all Ready | operator CPU | memory "
        "| API calls each | idle CPU | writes when idle | restart to settled |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )

    def row(self) -> str:
        """A row of a markdown table."""
        return (
            f"| {self.models} | {self.created:.1f} s | {self.children:.1f} s "
            f"| {self.settled:.1f} s | {self.cpu:.1f} s | {self.memory:.0f} MiB "
            f"| {self.calls:.2f} | {self.idle_percent:.1f} % | {self.idle_writes} "
            f"| {self.restart:.1f} s |"
        )


def measure(run: Run, plane: ControlPlane, api: Api, number: int, bare: bool) -> None:
    """Measure an operator with `number` models in a new namespace."""
    operator = OperatorProcess(run, plane, api)
    operator.start(**STANDARD)
    process = psutil.Process(operator.pid)
    shares = CpuShares({"operator": operator.pid, "this script": os.getpid(), **plane.pids})
    with Tenant(api, f"scale-{number}") as tenant, FakeKubelet(api, tenant.namespace):
        began = time.monotonic()
        create(tenant, (model(f"m-{i}") for i in range(number)))
        created = time.monotonic() - began
        until(lambda: amount(tenant, "v1", "Service") == number)
        children = time.monotonic() - began
        # With the conditions of all models, a response of /metrics has 3 kB for each.
        until(lambda: ready(operator) == number, every=max(0.5, number / SCRAPED_MODELS))
        settled = time.monotonic() - began
        used, counts, times = shares.seconds(), requests(operator), reconciled(operator)
        assert {item["status"]["phase"] for item in tenant.items(API, KIND)} == {"Ready"}
        writes, cpu = sum(written(operator).values()), shares.seconds()["operator"]
        time.sleep(IDLE_SECONDS)
        idle = (shares.seconds()["operator"] - cpu) / IDLE_SECONDS * 100
        idle_writes = int(sum(written(operator).values()) - writes)
        memory = process.memory_info().rss / 2**20
        operator.stop()
        began = time.monotonic()
        operator.start(**STANDARD)
        until(lambda: reconciled(operator) >= number and waiting(operator) == 0)
        restart = time.monotonic() - began
        operator.stop()
        # In the order of the operator's writes: Services that exist before their pods cost more.
        objects = [*tenant.items(APPS, "Deployment"), *tenant.items("v1", "Service")]
        objects.sort(key=lambda item: item["metadata"]["name"])
        each = {key.partition("{")[2].rstrip("}"): n / number for key, n in counts.items()}
        result = Result(number, created, children, settled, used["operator"], memory,
                        sum(each.values()), idle, idle_writes, restart)  # fmt: skip
        print(f"{Result.HEADER}\n{result.row()}")
        print("CPU seconds until all Ready: " + formatted(used))
        print(f"Reconciles of each: {times / number:.2f}")
        print("API calls for each: " + formatted(each), flush=True)
        for item in tenant.items(API, KIND):
            api.delete(item)
    if bare:
        # The deletion of all these objects would be a part of the load of what follows.
        until(lambda: is_gone(api, tenant.namespace), every=2)
        measure_bare(plane, api, [without_owner(item) for item in objects])


def measure_bare(plane: ControlPlane, api: Api, objects: list[Json]) -> None:
    """Measure the creation of the same children without the operator."""
    number = len(objects) // 2
    shares = CpuShares({"this script": os.getpid(), **plane.pids})
    with Tenant(api, f"bare-{number}") as tenant, FakeKubelet(api, tenant.namespace) as kubelet:
        began = time.monotonic()
        create(tenant, objects, BARE_WRITERS)
        created = time.monotonic() - began
        until(lambda: kubelet.reported == number)
        until(lambda: available(tenant) == number, every=2)
        print(f"Without operator: {number} Deployments and Services made in {created:.1f} s, all "
              f"available after {time.monotonic() - began:.1f} s")  # fmt: skip
        print("CPU seconds: " + formatted(shares.seconds()), flush=True)
        for item in tenant.items(APPS, "Deployment"):
            api.delete(item)


def measure_start(run: Run, plane: ControlPlane, api: Api, pods: int, number: int) -> None:
    """Measure the start of an operator among foreign pods."""
    operator = OperatorProcess(run, plane, api)
    operator.start(**STANDARD)
    empty = psutil.Process(operator.pid).memory_info().rss / 2**20
    operator.stop()
    for index in range(number):
        api.create(nodes.node(f"foreign-{index}", gpus=8))
    crowd = Tenant(api, "foreign")
    crowd.__enter__()  # its pods stay until the end of the run
    create(crowd, (foreign_pod(index, number) for index in range(pods)))
    began = time.monotonic()
    operator.start(**STANDARD)
    seconds, process = time.monotonic() - began, psutil.Process(operator.pid)
    after = process.memory_info().rss / 2**20
    cpu = sum(process.cpu_times()[:2])
    operator.stop()
    print(f"{pods} foreign pods on {number} nodes: synced in {seconds:.1f} s ({cpu:.1f} s of CPU),"
          f" {after:.0f} MiB (without them {empty:.0f} MiB)", flush=True)  # fmt: skip


def foreign_pod(index: int, number: int) -> Json:
    """A pod of someone else that takes a GPU, on one of `number` nodes."""
    resources = {"requests": {"cpu": "100m"}, "limits": {nodes.GPU: "0"}}
    variables = [{"name": f"VARIABLE_{i}", "value": "x" * 60} for i in range(80)]
    container = {"name": "main", "image": "other", "resources": resources, "env": variables}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"foreign-{index}", "labels": {"app": f"app-{index % 100}"}},
        "spec": {"nodeName": f"foreign-{index % number}", "containers": [container],
                 "tolerations": [{"operator": "Exists"}]},
    }  # fmt: skip


def create(tenant: Tenant, manifests: Iterable[Json], writers: int = WRITERS) -> None:
    """Create the manifests, a few at a time."""
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(tenant.create, manifests))


def without_owner(item: Json) -> Json:
    """A child without its owner."""
    kept = {"name": item["metadata"]["name"], "labels": {"bare": "true"}}
    spec = {key: value for key, value in item["spec"].items() if not key.startswith("clusterIP")}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": kept, "spec": spec}


def amount(tenant: Tenant, api_version: str, kind: str) -> int:
    """Number of objects, without reading all of them."""
    path = tenant.api.path(api_version, kind, tenant.namespace)
    listed = tenant.api.request("GET", path, params={"limit": "1"})
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def available(tenant: Tenant) -> int:
    """Number of available Deployments."""
    found = tenant.items(APPS, "Deployment")
    return sum(item.get("status", {}).get("availableReplicas") == 1 for item in found)


def is_gone(api: Api, namespace: str) -> bool:
    """Whether a namespace was deleted with everything in it."""
    return all(item["metadata"]["name"] != namespace for item in api.items("v1", "Namespace"))


def formatted(numbers: dict[str, float]) -> str:
    """Format numbers with their names."""
    return "; ".join(f"{name} {number:.2f}" for name, number in numbers.items())


def ready(operator: OperatorProcess) -> float:
    """Number of models with a status of Ready."""
    name = "modelfleet_operator_models"
    return series(operator, name)[f'{name}{{phase="Ready"}}']


def requests(operator: OperatorProcess) -> dict[str, float]:
    """The operator's requests to the API server by their labels."""
    return series(operator, "modelfleet_operator_api_calls_total")


def written(operator: OperatorProcess) -> dict[str, float]:
    return {name: n for name, n in requests(operator).items() if 'method="GET"' not in name}


def reconciled(operator: OperatorProcess) -> float:
    return sum(series(operator, "modelfleet_operator_reconciles_total").values())


def waiting(operator: OperatorProcess) -> float:
    return sum(series(operator, "modelfleet_operator_queue_depth").values())


def series(operator: OperatorProcess, name: str) -> dict[str, float]:
    """Samples of a metric."""
    lines = [line.rpartition(" ") for line in operator.metrics().splitlines()]
    return {key: float(value) for key, _, value in lines if key.partition("{")[0] == name}


def add_nodes(api: Api, number: int) -> list[Json]:
    """Create enough nodes for the pods."""
    names = [f"scale-{i}" for i in range(number // PODS_OF_A_NODE + 1)]
    return [api.create(nodes.node(name, cpu="256", memory="1Ti")) for name in names]


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=int)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--requests-per-second", type=int)
    parser.add_argument("--foreign-pods", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=200)
    options = parser.parse_args()
    leftovers.sweep()
    for name in CONTROL_PLANE:
        program(name)
    run, network = Run(), None if tiers.namespace_unavailable() else Namespace()
    plane = ControlPlane(
        run, "scale", NODE_ADDRESS if network else None, "10.97.0.0/16",
        real_nodes=False, requests_per_second=options.requests_per_second,
    )  # fmt: skip
    try:
        plane.start()
        with Api(plane.kubeconfig) as api:
            operator_process.install(api)
            operator_process.grant(api)
            add_nodes(api, 2 * max(options.models))
            if options.foreign_pods:
                measure_start(run, plane, api, options.foreign_pods, options.nodes)
            for number in options.models:
                measure(run, plane, api, number, options.bare)
    finally:
        plane.stop()
        if network is not None:
            network.close()
        leftovers.remove(run.folder, keep_folder=True)
        run.close()


if __name__ == "__main__":
    main()
